"""What `/config.json` says to the page, and what the page may do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from voice_gateway.web.page import PageFacts, voice_pages
from voice_gateway.web.server import WebRequest, WebResponse

FACTS = PageFacts(voice_path="/v1/voice", voice_port=4433)


def ask(facts: PageFacts, path: str = "/config.json", host: str = "voice.example:8080") -> WebResponse:
    pages = voice_pages({"index.html": b"<!doctype html>"}, lambda: facts)
    return pages[path](WebRequest("GET", path, {"host": host}, "192.0.2.1:5"))


def config(facts: PageFacts, host: str = "voice.example:8080") -> dict[str, Any]:
    document: dict[str, Any] = json.loads(ask(facts, host=host).text)
    return document


def policy(answer: WebResponse) -> list[str]:
    return answer.headers["Content-Security-Policy"].split("; ")


def test_the_page_calls_the_host_it_came_from() -> None:
    assert config(FACTS)["voice_url"] == "https://voice.example:4433/v1/voice"
    assert config(FACTS, host="[2001:db8::1]:8080")["voice_url"] == "https://[2001:db8::1]:4433/v1/voice"


def test_a_given_address_wins() -> None:
    facts = replace(FACTS, voice_url="https://lb.example/v1/voice")
    assert config(facts)["voice_url"] == "https://lb.example/v1/voice"
    assert policy(ask(facts, "/"))[-1] == "connect-src 'self' https://lb.example"


def test_a_host_that_is_none_gets_into_neither_policy_nor_address() -> None:
    for host in ("", "x; script-src *", "a b", "x/../y", "evil.example\t"):
        assert config(FACTS, host=host)["voice_url"] is None
        assert policy(ask(FACTS, "/", host))[-1] == "connect-src 'self'"


def test_the_page_speaks_to_this_gateway_alone() -> None:
    facts = replace(FACTS, demo_url="http://127.0.0.1:8081")
    assert policy(ask(facts, "/"))[-1] == "connect-src 'self' https://voice.example:4433 http://127.0.0.1:8081"
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy(ask(FACTS, "/")))


def test_the_page_is_isolated_so_that_it_may_share_memory_with_the_audio_thread() -> None:
    for path in ("/", "/config.json"):
        headers = ask(FACTS, path).headers
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"


def test_nothing_is_given_away_unless_it_was_meant_to_be() -> None:
    answer = config(FACTS)
    assert answer["token"] is None
    assert answer["certificate_hashes"] == []
    assert answer["demo_url"] is None


def test_the_token_is_not_printed() -> None:
    assert "sesame" not in repr(replace(FACTS, token="sesame"))


def test_without_its_files_the_page_says_how_to_build_it() -> None:
    answer = voice_pages({}, lambda: FACTS)["/"](WebRequest("GET", "/", {}, "192.0.2.1:5"))
    assert answer.status == 503
    assert "make web" in answer.text
