"""What operators may see and do: each operation, who may ask for it, and what it says of a request it cannot serve."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr

from tests.unit.voice_gateway.ops.admin.harness import TOKEN, AdminBench, next_event
from tests.unit.voice_gateway.ops.admin.write_openapi import DOCUMENT, current
from tests.unit.voice_gateway.session.fakes import run_ready
from voice_gateway.agent.base import FinalTranscript, Reply, ReplyAudio, UserText
from voice_gateway.errors import ConfigurationError
from voice_gateway.ops.admin.access import AdminToken
from voice_gateway.ops.admin.event_streams import MAX_STREAMS
from voice_gateway.ops.admin.operations import routes_of
from voice_gateway.ops.admin.server import admin_server
from voice_gateway.ops.admin.session_operations import SESSION
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.settings.listener_sections import AdminSection
from voice_gateway.web.server import WebRequest
from voicelink.wire import CloseCode, Flush, Transfer


@pytest.fixture
async def bench() -> AsyncIterator[AdminBench]:
    bench = AdminBench()
    await bench.start()
    yield bench
    await bench.server.stop()
    await bench.manager.close()


@pytest.fixture
def _level() -> Iterator[None]:
    yield
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET))


def test_the_openapi_document_in_the_tree_is_current() -> None:
    remedy = "write it anew: python -m tests.unit.voice_gateway.ops.admin.write_openapi"
    assert DOCUMENT.read_text() == current(), remedy


async def test_the_openapi_document_is_served_without_a_token(bench: AdminBench) -> None:
    status, document = await bench.ask("GET", "/openapi.json", authorization=None)
    assert (status, document["openapi"]) == (200, "3.1.0")
    assert document["paths"]["/sessions/{session}/say"]["post"]["parameters"][0]["name"] == "session"


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("Bearer something-else-of-length", 401),
        ("Bearer", 401),
        ("Basic !!!", 401),
        (f"Digest {TOKEN}", 401),
        ("Bearer caf\u00e9", 401),
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        ("Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode(), 200),
    ],
)
async def test_only_the_token_opens_an_operation(bench: AdminBench, authorization: str | None, status: int) -> None:
    bench.call()
    assert (await bench.ask("GET", "/sessions/s-1", authorization=authorization))[0] == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:9090", 202),
        ("http://127.0.0.1:8080", 403),
        ("http://203.0.113.5", 403),
        ("http://localhost:9090", 403),
        ("null", 403),
    ],
)
def test_a_page_elsewhere_does_not_act_with_the_password_that_a_browser_knows(origin: str, status: int) -> None:
    token = AdminToken(TOKEN)
    basic = "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode()
    headers = {"host": "127.0.0.1:9090", "origin": origin, "authorization": basic}
    refusal = token.refusal(WebRequest("POST", "/drain", headers, "127.0.0.1:1"))
    assert (202 if refusal is None else refusal.status) == status


async def test_every_operation_that_is_not_open_asks_for_the_token(bench: AdminBench) -> None:
    bench.call()
    for operation in bench.operations:
        if not operation.is_open:
            path = operation.path.replace("{session}", "s-1")
            assert (await bench.ask(operation.method, path, {}, authorization=None))[0] == 401, operation.path
    opened = {operation.path for operation in bench.operations if operation.is_open}
    assert opened == {"/metrics", "/healthz", "/readyz", "/sessions"}


async def test_without_a_token_in_the_settings_operations_are_off_and_say_so(bench: AdminBench) -> None:
    server = admin_server(routes_of(bench.operations, AdminToken(None)))
    await bench.server.stop()
    bench.address = await server.start("admin.listen", ("127.0.0.1", 0), None)
    status, answer = await bench.ask("POST", "/drain", {})
    await server.stop()
    assert (status, bench.drains) == (403, [])
    assert "admin.token_file" in answer["error"]


def test_a_changed_token_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("the-first-of-two-tokens")
    document = {"worker": {"listen": "127.0.0.1:0"}, "tls": {"certificate": "c", "key": "k"}}
    settings = GatewaySettings.model_validate(document | {"admin": {"token_file": str(file)}})
    token = AdminToken("the-first-of-two-tokens")
    assert list(token.files(settings)) == [file]
    file.write_text("the-second-of-two-tokens")
    token.reload(settings)
    assert token._token == b"the-second-of-two-tokens"


@pytest.mark.parametrize(("token", "rule"), [("too-short", "at least 16"), ("caf\u00e9-of-the-operators", "ASCII")])
def test_a_token_that_no_header_carries_or_others_guess_is_refused(token: str, rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"admin\.token: must .*{rule}"):
        AdminSection(token=SecretStr(token)).read_token()


async def test_a_session_is_shown_as_its_schema_says(bench: AdminBench) -> None:
    bench.call()
    status, document = await bench.ask("GET", "/sessions/s-1")
    assert (status, document["state"]) == (200, "active")
    assert document.keys() == SESSION.schema["properties"].keys()


async def test_a_session_that_ended_is_still_shown(bench: AdminBench) -> None:
    bench.call()
    bench.manager.find("s-1").end(CloseCode.NORMAL, "over")
    assert (await bench.ask("GET", "/sessions/s-1"))[1]["close_code"] == "normal"


@pytest.mark.parametrize("operation", ["say", "text", "transfer", "hangup", "qlog"])
async def test_a_session_that_is_not_there_gets_404(bench: AdminBench, operation: str) -> None:
    body = {"say": {"text": "x"}, "text": {"text": "x"}, "transfer": {"target": "x"}}.get(operation, {})
    status, answer = await bench.ask("POST", f"/sessions/none/{operation}", body)
    assert status == 404
    assert "no such session at w-1" in answer["error"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "missing required field `text`"),
        ({"text": ""}, "length >= 1"),
        ({"text": 7}, "Expected `str`"),
        ({"text": "x" * 4_001}, "length <= 4000"),
        ({"text": "x", "loud": True}, "unknown field `loud`"),
    ],
)
async def test_a_body_that_is_wrong_is_refused_by_the_rule_it_breaks(
    bench: AdminBench, body: dict[str, object], reason: str
) -> None:
    bench.call()
    status, answer = await bench.ask("POST", "/sessions/s-1/say", body)
    assert status == 400
    assert reason in answer["error"]


async def test_say_cuts_off_the_reply_and_lets_the_agent_speak(bench: AdminBench) -> None:
    bench.call()
    conversation = bench.agent.conversations[-1]
    conversation.emit(Reply("a long story"))
    conversation.emit(ReplyAudio(bytes(9_600)))
    assert await bench.ask("POST", "/sessions/s-1/say", {"text": "we close now"}) == (202, {"session": "s-1"})
    assert len(bench.transport.of(Flush)) == 1
    assert conversation.calls[-2:] == [("interrupted", 0), ("say again", "we close now")]


async def test_text_reaches_the_agent_as_typed_without_a_number(bench: AdminBench) -> None:
    bench.call()
    typed: list[UserText] = []
    bench.agent.conversations[-1].text_received = typed.append  # type: ignore[assignment,method-assign]  # `text` by position
    assert (await bench.ask("POST", "/sessions/s-1/text", {"text": "two lattes"}))[0] == 202
    assert [(each.number, each.text) for each in typed] == [(None, "two lattes")]


async def test_hangup_ends_the_session_with_the_reason(bench: AdminBench) -> None:
    bench.call()
    assert (await bench.ask("POST", "/sessions/s-1/hangup", {"reason": "maintenance"}))[0] == 202
    assert bench.transport.closed == [(CloseCode.NORMAL, "maintenance")]
    assert (await bench.ask("POST", "/sessions/s-1/hangup"))[0] == 404


async def test_transfer_names_the_target_and_ends_the_session(bench: AdminBench) -> None:
    bench.call()
    assert (await bench.ask("POST", "/sessions/s-1/transfer", {"target": "sip:desk@example.com"}))[0] == 202
    assert [each.target for each in bench.transport.of(Transfer)] == ["sip:desk@example.com"]
    assert bench.manager.find("s-1") is None


async def test_speech_for_a_caller_who_is_away_is_refused(bench: AdminBench) -> None:
    bench.call()
    bench.manager.find("s-1").lost("gone")
    status, answer = await bench.ask("POST", "/sessions/s-1/say", {"text": "hello?"})
    assert (status, answer) == (409, {"error": "the caller is not connected now"})


async def test_a_session_without_quic_has_no_qlog(bench: AdminBench) -> None:
    bench.call()
    assert (await bench.ask("POST", "/sessions/s-1/qlog", {}))[0] == 409
    bench.transport.connection_id = "c0ffee"  # type: ignore[assignment]
    assert (await bench.ask("POST", "/sessions/s-1/qlog", {"seconds": 2}))[0] == 200
    assert bench.qlogs == [("c0ffee", 2.0)]


async def test_drain_takes_the_deadline_of_the_settings_unless_given(bench: AdminBench) -> None:
    assert await bench.ask("POST", "/drain") == (202, {"sessions": 0, "deadline_s": 5.0})
    assert await bench.ask("POST", "/drain", {"deadline_s": 60}) == (202, {"sessions": 0, "deadline_s": 60.0})
    assert bench.drains == [None, 60.0]


@pytest.mark.usefixtures("_level")
async def test_the_log_level_changes_while_sessions_go_on(
    bench: AdminBench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.call()
    assert await bench.ask("PUT", "/log-level", {"level": "error"}) == (200, {"level": "error"})
    assert await bench.ask("GET", "/log-level") == (200, {"level": "error"})
    bench.manager.find("s-1").path_changed("192.0.2.9:1")
    assert "session_migrated" not in capsys.readouterr().out
    await bench.ask("PUT", "/log-level", {"level": "debug"})
    bench.manager.find("s-1").path_changed("192.0.2.9:2")
    assert "session_migrated" in capsys.readouterr().out


async def test_a_stream_of_one_session_ends_with_it(bench: AdminBench) -> None:
    bench.call()
    reader, writer = await bench.watch("/sessions/s-1/events")
    conversation = bench.agent.conversations[-1]
    conversation.emit(FinalTranscript("two secret lattes", 0))
    bench.manager.find("s-1").path_changed("192.0.2.9:1")
    bench.manager.find("s-1").end(CloseCode.NORMAL, "over")
    events = [await next_event(reader) for _ in range(3)]
    assert [event["event"] for event in events] == ["session_migrated", "turn_completed", "session_ended"]
    assert re.fullmatch(r"1[0-9]{9}\.?[0-9]*", str(events[0]["time"]))
    assert "secret" not in str(events)
    assert await reader.read() == b""
    writer.close()


async def test_words_are_in_the_stream_where_the_settings_say_so() -> None:
    bench = AdminBench(has_words=True)
    await bench.start()
    bench.call()
    reader, writer = await bench.watch("/events")
    bench.agent.conversations[-1].emit(FinalTranscript("two lattes", 0))
    line = await next_event(reader)
    assert (line["event"], line["role"], line["text"], line["session"]) == ("line_added", "user", "two lattes", "s-1")
    writer.close()
    await bench.server.stop()
    await bench.manager.close()


async def test_streams_beyond_the_limit_are_refused_and_closed_ones_make_room(bench: AdminBench) -> None:
    streams = [await bench.watch("/events") for _ in range(MAX_STREAMS)]
    assert (await bench.ask("GET", "/events"))[0] == 503
    assert (await bench.ask("GET", "/sessions", authorization=None))[0] == 200
    for _, writer in streams:
        writer.close()
        await writer.wait_closed()
    await run_ready()
    _, writer = await bench.watch("/events")
    writer.close()
