"""The agent that asks an HTTP server what to say."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.unit.voice_gateway.agent.call.test_contract import Lengths, Loudness, Silence
from voice_gateway.agent.base import (
    Agent,
    AgentEvent,
    FinalTranscript,
    HangUp,
    Reply,
    SessionView,
    StateChanged,
    UserText,
)
from voice_gateway.agent.call import CallOptions
from voice_gateway.agent.call.agent import CallAgent, as_agent
from voice_gateway.agents.webhook import WebhookAgent, WebhookAnswer, WebhookSettings
from voice_gateway.errors import AgentError, ConfigurationError
from voice_gateway.testing.agents import AgentContract, Caller

OPTIONS = CallOptions(recogniser=Lengths, voices=Loudness, speech=Silence)
Respond = Callable[[dict[str, Any]], tuple[int, bytes]]


class Requests(list[tuple[dict[str, Any], dict[str, str]]]):
    url = ""


@contextmanager
def server(respond: Respond) -> Iterator[Requests]:
    """Serve; yields the requests, each as its body and header fields."""
    requests = Requests()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append((body, dict(self.headers)))
            status, answer = respond(body)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", requests.url)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    requests.url = f"http://127.0.0.1:{listening.server_port}/"
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield requests
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def count(request: dict[str, Any]) -> tuple[int, bytes]:
    """Count the turns, in the state alone."""
    turns = request["state"].get("turns", 0) + (request["kind"] != "greeting")
    answer: dict[str, Any] = {"say": f"That is {turns}.", "state": {"turns": turns}}
    if request["text"] == "bye":
        answer["hang_up"] = "said bye"
    return 200, json.dumps(answer).encode()


def agent(*urls: str, **settings: Any) -> WebhookAgent:
    return WebhookAgent(WebhookSettings(urls=list(urls), **settings), OPTIONS)


async def test_each_turn_is_a_request_with_the_state_of_the_answer_before() -> None:
    with server(count) as requests:
        held: Agent = as_agent(agent(requests.url))
        await held.open()
        caller = Caller(held, 10.0)
        caller.conversation.greet()
        await caller.until(lambda: len(caller.of(Reply)) == 1, "the greeting")
        caller.conversation.text_received(UserText(1, "tea"))
        await caller.until(lambda: len(caller.of(Reply)) == 2, "the answer")
        caller.conversation.text_received(UserText(2, "bye"))
        await caller.until(lambda: bool(caller.of(HangUp)), "the end")
        assert [reply.text for reply in caller.of(Reply)] == ["That is 0.", "That is 1.", "That is 2."]
        assert caller.of(HangUp) == [HangUp("said bye")]
        assert [turn.text for turn in caller.of(FinalTranscript)] == ["tea", "bye"]
        bodies = [body for body, _ in requests]
        assert [(body["turn"], body["kind"], body["text"], body["state"]) for body in bodies] == [
            (0, "greeting", "", {}),
            (1, "text", "tea", {"turns": 0}),
            (2, "text", "bye", {"turns": 1}),
        ]
        keys = [fields["Idempotency-Key"] for _, fields in requests]
        assert len(set(keys)) == 3
        caller.conversation.close()
        await held.close()


def test_the_next_server_is_asked_after_one_that_fails_with_the_same_key() -> None:
    with server(lambda body: (503, b"")) as failing, server(count) as working:
        asked = agent("http://127.0.0.1:9/", failing.url, working.url)
        request = {"state": {}, "kind": "speech", "text": "tea"}
        assert asked.ask(request, "k") == WebhookAnswer("That is 1.", {"turns": 1})
        assert [fields["Idempotency-Key"] for _, fields in (*failing, *working)] == ["k", "k"]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"", "the webhook answers 404"),
        (302, b"", "the webhook answers 302"),
        (503, b"", r"no webhook answers within 0\.3 s: it answers 503"),
        (200, b"hello", "is no JSON object"),
        (200, b'{"say": 5}', "is no JSON object"),
        (200, b" " * ((1 << 20) + 1), "more than 1048576 bytes"),
    ],
)
def test_a_server_that_does_not_answer_is_one_sentence(status: int, body: bytes, said: str) -> None:
    with server(lambda _: (status, body)) as requests, pytest.raises(AgentError, match=said):
        agent(requests.url, patience_s=0.3).ask({}, "k")


async def test_a_call_whose_server_refuses_ends_with_the_apology() -> None:
    with server(lambda _: (400, b"")) as requests:
        held = as_agent(agent(requests.url))
        await held.open()
        events: list[AgentEvent] = []

        def take(event: AgentEvent) -> None:
            events.append(event)
            if isinstance(event, StateChanged) and event.checkpoint is not None:
                conversation.saved(event.checkpoint)

        conversation = held.converse(take, None)
        conversation.opened(SessionView("s-1", 0, {}, tuple, lambda: True))
        conversation.greet()
        async with asyncio.timeout(10):
            while not any(isinstance(each, Reply) and OPTIONS.apology.startswith(each.text) for each in events):  # noqa: ASYNC110 - an agent has no event to wait for
                await asyncio.sleep(0.01)
        conversation.close()
        await held.close()


def test_the_token_goes_with_each_request(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    with server(count) as requests:
        agent(requests.url, token_file=tmp_path / "token").ask({"state": {}, "kind": "speech", "text": "tea"}, "k")
        assert requests[0][1]["Authorization"] == "Bearer secret"
    (tmp_path / "token").write_text("")
    with pytest.raises(ConfigurationError, match="the file is empty"):
        agent("http://localhost/", token_file=tmp_path / "token")


def test_an_address_that_is_no_url_is_refused() -> None:
    with pytest.raises(ValidationError, match="each of urls begins with http"):
        WebhookSettings(urls=["localhost:8080"])


class TestWebhook(AgentContract):
    """Without a greeting, which would come while the contract waits for the answer alone."""

    @pytest.fixture(autouse=True)
    def _serve(self) -> Iterator[None]:
        with server(lambda body: (200, b"{}") if body["kind"] == "greeting" else count(body)) as requests:
            self.url = requests.url
            yield

    def make_agent(self) -> CallAgent:
        return agent(self.url)
