"""The judge by a language model, against a server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from voice_eval.call.record import CallRecord, TranscriptLine
from voice_eval.errors import EvalError
from voice_eval.verdict.judge import Judge

RECORD = CallRecord(lines=[TranscriptLine("agent", "Hi"), TranscriptLine("user", "a taro")])


@contextmanager
def model(answer: str, status: int = 200) -> Iterator[tuple[str, list[Any]]]:
    """An API whose model always says this; yields its URL, and what it is asked."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, self.headers.get("Authorization"), json.loads(body)))
            document = json.dumps({"choices": [{"message": {"content": answer}}]}).encode()
            self.send_response(status)
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def said(*holds: bool) -> str:
    sentences = [{"holds": each, "reason": "so it is"} for each in holds]
    return f"Here you are:\n```json\n{json.dumps({'sentences': sentences})}\n```"


async def test_what_the_model_finds_untrue_fails_with_its_reason() -> None:
    with model(said(True, False)) as (url, asked):
        opinions = await Judge(url, "m", "secret").opinions(("It greets.", "It is rude."), RECORD)
    assert opinions == ("judge: 'It is rude.' does not hold: so it is",)
    ((path, key, body),) = asked
    assert (path, key, body["model"]) == ("/v1/chat/completions", "Bearer secret", "m")
    assert "user: a taro" in body["messages"][1]["content"]


async def test_nothing_is_asked_without_sentences_or_a_transcript() -> None:
    with model(said(True)) as (url, asked):
        assert await Judge(url, "m").opinions((), RECORD) == ()
        (opinion,) = await Judge(url, "m").opinions(("It greets.",), CallRecord())
    assert opinion == "judge: cannot be asked: the driver gets no transcript"
    assert asked == []


@pytest.mark.parametrize(
    ("answer", "status", "sentence"),
    [
        ("I think so.", 200, "the model's answer is not the JSON that was asked for"),
        (said(True, True), 200, "2 answers to 1 sentences: use another --judge-model"),
        (said(True), 401, "HTTP Error 401"),
    ],
)
async def test_a_judge_without_a_usable_answer_is_an_error(answer: str, status: int, sentence: str) -> None:
    with model(answer, status) as (url, _), pytest.raises(EvalError, match=sentence):
        await Judge(url, "m").opinions(("It greets.",), RECORD)


async def test_a_judge_at_no_http_url_is_refused() -> None:
    with pytest.raises(EvalError, match="--judge-url 'ftp://x': give http:// or https://"):
        await Judge("ftp://x", "m").opinions(("It greets.",), RECORD)


def test_the_key_is_in_no_representation() -> None:
    assert "secret" not in repr(Judge("http://x", "m", "secret"))
