"""A service with OpenAI's API on this machine: it answers from a script, and refuses what OpenAI's own types do.

Requests are validated against the types of the package `openai`, unknown fields too; answers are its models.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NotRequired, Required, get_args, get_origin, get_type_hints

from openai.types.audio import Transcription
from openai.types.audio.speech_create_params import SpeechCreateParams
from openai.types.audio.transcription_create_params import TranscriptionCreateParamsNonStreaming
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter, ValidationError

from voicelink.audio.wav import parse_wav

KEY: Final = "sk-test"
_FORM_NUMBERS: Final = {"temperature": float}


@dataclass(slots=True)
class Failure:
    """How a request fails instead: by a status, after a wait, or within the answer."""

    status: int = 0
    wait_s: float = 0.0
    after_pieces: int | None = None
    code: str | None = None


@dataclass(slots=True)
class OpenAIApi:
    """What it answers next (then "Yes." and "a taro"), and the requests that came.

    `faults` are requests that the real API would not take.
    """

    url: str = ""
    chats: deque[list[dict[str, Any]]] = field(default_factory=deque)
    heard: deque[str] = field(default_factory=deque)
    speech: list[bytes] = field(default_factory=lambda: [bytes(4_801), bytes(4_799)])
    failures: deque[Failure] = field(default_factory=deque)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)
    """Ends the waits of requests that are still to be answered."""

    def of(self, path: str) -> list[dict[str, Any]]:
        return [body for each, body in self.requests if each == path]


def says(*pieces: str) -> list[dict[str, Any]]:
    """The deltas of an answer in words."""
    return [{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces)]


def calls(*tools: tuple[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The deltas of an answer that wants tools called; the arguments come in two pieces, as OpenAI's do."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
    for index, (name, arguments) in enumerate(tools):
        text = json.dumps(arguments)
        head = {"index": index, "id": f"call-{name}-{index}", "type": "function"}
        deltas.append({"tool_calls": [{**head, "function": {"name": name, "arguments": ""}}]})
        for piece in (text[:3], text[3:]):
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    return deltas


@contextmanager
def serving() -> Iterator[OpenAIApi]:
    """Serve; fails where a request was not as OpenAI's API takes it."""
    api = OpenAIApi()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": api}))
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield api
    finally:
        api.is_over.set()
        server.shutdown()
        thread.join()
        server.server_close()
    assert api.faults == []


class _Handler(BaseHTTPRequestHandler):
    api: OpenAIApi
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_POST(self) -> None:
        self.api.seconds.append(time.monotonic())
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] != f"Bearer {KEY}":
            return self._refuse(401, "invalid_api_key")
        failure = self.api.failures.popleft() if self.api.failures else Failure()
        self.api.is_over.wait(failure.wait_s)
        if failure.status:
            return self._refuse(failure.status, failure.code)
        try:
            match self.path:
                case "/v1/chat/completions":
                    self._chat(json.loads(body), failure)
                case "/v1/audio/transcriptions":
                    self._transcribe(body)
                case "/v1/audio/speech":
                    self._speak(json.loads(body), failure)
                case _:
                    self._refuse(404, None)
        except (ValidationError, AssertionError) as error:
            self.api.faults.append(f"{self.path}: {error}")
            self._refuse(400, "invalid_request")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _chat(self, body: dict[str, Any], failure: Failure) -> None:
        checked("/chat/completions", CompletionCreateParamsStreaming, body)
        for message in body["messages"]:
            assert message["role"] != "assistant" or message.get("content") or message.get("tool_calls")
        self.api.requests.append(("/chat/completions", body))
        deltas = self.api.chats.popleft() if self.api.chats else says("Yes.")
        reason = "tool_calls" if any("tool_calls" in each for each in deltas) else "stop"
        choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": reason})
        chunks = [self._chunk([choice]) for choice in choices] + [self._chunk([])]
        pieces = [f"data: {chunk}\n\n".encode() for chunk in chunks]
        self._stream("text/event-stream", [*pieces, b"data: [DONE]\n\n"], failure)

    def _chunk(self, choices: list[dict[str, Any]]) -> str:
        head = {"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": "fake"}
        return ChatCompletionChunk.model_validate({**head, "choices": choices}).model_dump_json(exclude_unset=True)

    def _transcribe(self, body: bytes) -> None:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        fields: dict[str, Any] = {}
        for part in message_from_bytes(head + body, policy=HTTP).iter_parts():
            name = str(part.get_param("name", header="content-disposition"))
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            fields[name] = content if part.get_filename() else _FORM_NUMBERS.get(name, str)(content.decode())
        checked("/audio/transcriptions", TranscriptionCreateParamsNonStreaming, fields)
        sound = parse_wav(fields["file"])
        assert sound.rate_hz == 16_000
        self.api.requests.append(("/audio/transcriptions", {**fields, "file": sound}))
        self._answer(
            "application/json",
            Transcription(text=self.api.heard.popleft() if self.api.heard else "a taro").model_dump_json().encode(),
        )

    def _speak(self, body: dict[str, Any], failure: Failure) -> None:
        checked("/audio/speech", SpeechCreateParams, body)
        self.api.requests.append(("/audio/speech", body))
        self._stream("audio/pcm", self.api.speech, failure)

    def _stream(self, kind: str, pieces: list[bytes], failure: Failure) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, piece in enumerate(pieces):
            if number == failure.after_pieces:
                self.close_connection = True  # the body has no end
                return
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, kind: str, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, code: str | None) -> None:
        error = {"message": f"a taro; the key was {KEY}", "type": "error", "param": None, "code": code}
        self._answer("application/json", json.dumps({"error": error}).encode(), status)


def checked(path: str, kind: Any, body: Mapping[str, Any]) -> None:
    """Check each field of a request against a type of the package's, and that it knows the field."""
    hints = get_type_hints(kind, include_extras=True)
    assert body.keys() <= hints.keys(), f"{path} has no {sorted(body.keys() - hints.keys())}"
    assert kind.__required_keys__ <= body.keys(), f"{path} needs {sorted(kind.__required_keys__)}"
    for name, value in body.items():
        if name != "file":
            hint = hints[name]
            while get_origin(hint) in (Required, NotRequired):
                (hint,) = get_args(hint)
            TypeAdapter(hint).validate_python(value)
