"""OpenAI's side of the Realtime WebSocket: strict in the shape and the order of messages, with rules for a model."""

from __future__ import annotations

import asyncio
import itertools
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.agents.support.openai_checks import REALTIME_DOWN, REALTIME_UP, NotOfTheProtocol
from tests.agents.support.vendor_voice import Activity, Brain, CallTool, Ears, Entry, Say, echo_brain, voice
from voicelink.audio.codecs.g711 import pcmu_decode, pcmu_encode

KEY = "sk-local"
MODELS = ("gpt-realtime-2.1", "gpt-realtime-2")
_PREFIX_MS = 300
_CHUNK_MS = 100
_SAY = "Say exactly the following text, word for word, in its own language, and nothing else:\n\n"


@dataclass(slots=True)
class Item:
    id: str
    role: str
    text: str
    audio_ms: float = 0.0
    truncated_ms: int | None = None
    call_id: str = ""

    @property
    def known_text(self) -> str:
        """The transcript of a truncated item is gone."""
        return self.text if self.truncated_ms is None else ""


@dataclass(slots=True)
class RealtimeServer:
    """How the vendor behaves, and what it saw of all sessions."""

    brain: Brain = echo_brain
    ears: Ears = field(default_factory=Ears)
    pace_s: float = 0.0
    """How long a chunk of 100 ms of an answer takes to be made."""
    most_chunks: int | None = None
    """A longer answer stops behind so many of them, until it is cut off."""
    words_delay_s: float = 0.02
    may_transcribe: asyncio.Event | None = None
    """Words wait for it besides, where it is given."""
    is_transcribing: bool = True
    status: HTTPStatus | None = None
    """What handshakes are refused with."""
    refusals: int = 1_000_000
    """How many handshakes `status` refuses."""
    on_response: Callable[[RealtimeSession], None] | None = None
    cut: Callable[[str], bool] = lambda _name: False
    """Gets "up" and the type of each command, and ends the connection in its place where it returns true."""
    sessions: list[RealtimeSession] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1"

    def process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.status is not None and self.refusals > 0:
            self.refusals -= 1
            return connection.respond(self.status, "refused\n")
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no such key\n")
        if urlsplit(request.path).path.replace("//", "/") != "/v1/realtime":
            return connection.respond(HTTPStatus.NOT_FOUND, "no such path\n")
        return None

    async def handle(self, connection: ServerConnection) -> None:
        session = RealtimeSession(self, connection)
        self.sessions.append(session)
        await session.run()

    def said_to(self) -> list[str]:
        """All commands but audio, of all sessions."""
        return [each["type"] for session in self.sessions for each in session.commands]


@asynccontextmanager
async def realtime_server(**behaviour: Any) -> AsyncIterator[RealtimeServer]:
    server = RealtimeServer(**behaviour)
    listening: Server = await serve(server.handle, "127.0.0.1", 0, process_request=server.process_request)
    server.port = next(iter(listening.sockets)).getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()
    assert not server.faults, server.faults


class RealtimeSession:
    """One session. A command that the protocol does not allow at its place closes it, and is a fault of the test."""

    def __init__(self, server: RealtimeServer, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.server = server
        self.connection = connection
        self.model = parse_qs(urlsplit(connection.request.path).query).get("model", [""])[0]
        self.config: dict[str, Any] | None = None
        self.items: list[Item] = []
        self.commands: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self.audio_bytes = 0
        self._ids = itertools.count(1)
        self._is_pcmu = False
        self._activity = Activity(24_000)
        self._heard = bytearray()
        self._begun_ms = 0.0
        self._turn = ""
        self._response: asyncio.Task[None] | None = None
        self._asides: set[asyncio.Task[None]] = set()
        self._calls: set[str] = set()
        self._audio_out: dict[str, float] = {}

    @property
    def is_answering(self) -> bool:
        return self._response is not None and not self._response.done()

    async def run(self) -> None:
        if self.model not in MODELS:
            await self._send(
                "error", error={"type": "invalid_request_error", "code": "model_not_found", "message": "?"}
            )
            await self.connection.close(4000, "invalid_request_error.model_not_found")
            return
        await self._send("session.created", session={"type": "realtime", "model": self.model})
        try:
            async for raw in self.connection:
                command = json.loads(raw)
                REALTIME_UP.check(command)
                if self.server.cut(f"up {command['type']}"):
                    self.kill()
                    break
                if command["type"] != "input_audio_buffer.append":
                    self.commands.append(command)
                await self._take(command)
        except (NotOfTheProtocol, json.JSONDecodeError, AssertionError) as error:
            self.server.faults.append(f"{type(error).__name__}: {error}")
            await self.connection.close(1008, "invalid")
        except ConnectionClosed:
            pass
        finally:
            for task in (self._response, *self._asides):
                if task is not None:
                    task.cancel()

    async def _take(self, command: dict[str, Any]) -> None:
        match command["type"]:
            case "session.update":
                await self._configure(command["session"])
            case "input_audio_buffer.append":
                assert self.config is not None, "audio came before the session was configured"
                await self._hear(b64decode(command["audio"], validate=True))
            case "conversation.item.create":
                await self._create(command)
            case "conversation.item.truncate":
                await self._truncate(command)
            case "response.create":
                await self._answer(command)
            case "response.cancel":
                await self._cancel(command)
            case kind:
                raise AssertionError(f"the local vendor does not know {kind}")

    async def _configure(self, session: dict[str, Any]) -> None:
        assert self.config is None, "the session is configured once"
        given = session["audio"]["input"]["format"], session["audio"]["output"]["format"]
        assert given[0] == given[1]
        assert given[0] in ({"type": "audio/pcmu"}, {"type": "audio/pcm", "rate": 24_000})
        assert session["audio"]["input"]["turn_detection"]["interrupt_response"] is True
        self.config = session
        self._is_pcmu = given[0]["type"] == "audio/pcmu"
        detection = session["audio"]["input"]["turn_detection"]
        self._activity = Activity(8_000 if self._is_pcmu else 24_000, detection.get("silence_duration_ms", 500))
        await self._send("session.updated", session=session)

    async def _hear(self, audio: bytes) -> None:
        self.audio_bytes += len(audio)
        pcm = pcmu_decode(audio) if self._is_pcmu else audio
        rate_bytes_ms = self._activity.rate_hz * 2 // 1000
        step = rate_bytes_ms * 20
        for start in range(0, len(pcm), step):
            piece = pcm[start : start + step]
            self._heard += piece
            change = self._activity.hear(piece)
            if change:
                self._begun_ms = max(0.0, self._activity.position_ms - 100 - _PREFIX_MS)
                self._turn = self._id("item")
                await self._interrupt()
                await self._send(
                    "input_audio_buffer.speech_started", audio_start_ms=int(self._begun_ms), item_id=self._turn
                )
            elif change is False:
                await self._turn_over(int(self._activity.position_ms))

    async def _turn_over(self, end_ms: int) -> None:
        rate_bytes_ms = self._activity.rate_hz * 2 // 1000
        said = bytes(self._heard[int(self._begun_ms) * rate_bytes_ms :])
        item = Item(self._turn, "user", "")
        self.items.append(item)
        await self._send("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=item.id)
        await self._send("input_audio_buffer.committed", item_id=item.id)
        content = {"type": "message", "role": "user", "id": item.id, "content": [{"type": "input_audio"}]}
        await self._send("conversation.item.added", item=content)
        item.text = self.server.ears.transcribe(said, self._activity.rate_hz)
        self._spawn(self._transcribe(item))
        if self._response is not None:
            with suppress(asyncio.CancelledError):
                await self._response
        self._response = asyncio.get_running_loop().create_task(self._respond({}))

    async def _transcribe(self, item: Item) -> None:
        await asyncio.sleep(self.server.words_delay_s)
        if self.server.may_transcribe is not None:
            await self.server.may_transcribe.wait()
        kind = "conversation.item.input_audio_transcription"
        if not self.server.is_transcribing:
            await self._send(f"{kind}.failed", item_id=item.id, content_index=0, error={"code": "audio_unintelligible"})
            return
        half = item.text[: len(item.text) // 2]
        await self._send(f"{kind}.delta", item_id=item.id, content_index=0, delta=half)
        usage = {"type": "duration", "seconds": 1.0}
        await self._send(f"{kind}.completed", item_id=item.id, content_index=0, transcript=item.text, usage=usage)

    async def _create(self, command: dict[str, Any]) -> None:
        item = command["item"]
        if item["type"] == "function_call_output":
            assert item["call_id"] in self._calls, "the result of a tool that was not called"
            self._calls.discard(item["call_id"])
            json.loads(item["output"])
            entry = Item(self._id("item"), "tool", item["output"], call_id=item["call_id"])
        else:
            content = item["content"][0]
            assert content["type"] == {"user": "input_text", "assistant": "output_text"}[item["role"]]
            entry = Item(self._id("item"), item["role"], content["text"])
        self.items.append(entry)
        await self._send("conversation.item.added", item={"id": entry.id, **item})

    async def _truncate(self, command: dict[str, Any]) -> None:
        found = [each for each in self.items if each.id == command["item_id"] and each.role == "assistant"]
        if not found:
            await self._refuse(command, "item_truncate_invalid_item_id")
        elif command["audio_end_ms"] > self._audio_out.get(found[0].id, 0.0):
            await self._refuse(command, "item_truncate_invalid_audio_end_ms")
        else:
            found[0].truncated_ms = command["audio_end_ms"]
            truncated = {key: command[key] for key in ("item_id", "content_index", "audio_end_ms")}
            await self._send("conversation.item.truncated", **truncated)

    async def _answer(self, command: dict[str, Any]) -> None:
        response = command.get("response", {})
        if response.get("conversation") == "none":
            self._spawn(self._respond(response))
        elif self._response is not None and not self._response.done():
            await self._refuse(command, "conversation_already_has_active_response")
        else:
            self._response = asyncio.get_running_loop().create_task(self._respond(response))

    async def _cancel(self, command: dict[str, Any]) -> None:
        if self._response is None or self._response.done():
            await self._refuse(command, "response_cancel_not_active")
        else:
            await self._interrupt("client_cancelled")

    async def _interrupt(self, reason: str = "turn_detected") -> None:
        if self._response is not None and not self._response.done():
            self._response.cancel(reason)
            with suppress(asyncio.CancelledError):
                await self._response

    async def _respond(self, response: dict[str, Any]) -> None:
        if self.server.on_response is not None:
            self.server.on_response(self)
        facts: dict[str, Any] = {"id": self._id("resp"), "object": "realtime.response"}
        if "metadata" in response:
            facts["metadata"] = response["metadata"]
        is_aside = response.get("conversation") == "none"
        instructions = response.get("instructions", "")
        if instructions.startswith(_SAY):
            act: Say | CallTool = Say(instructions.removeprefix(_SAY))
        else:
            act = self.server.brain([Entry(each.role, each.known_text) for each in self.items if each.role != "call"])
        output: list[dict[str, Any]] = []
        item = Item(self._id("item"), "assistant" if isinstance(act, Say) else "call", "")
        try:
            await self._send("response.created", response={**facts, "status": "in_progress", "output": []})
            if not is_aside:
                self.items.append(item)
            if isinstance(act, Say):
                output.append(await self._say(item, act.text, facts["id"]))
            else:
                output.append(await self._call(item, act, facts["id"]))
        except asyncio.CancelledError as error:
            reason = error.args[0] if error.args else "turn_detected"
            details = {"type": "cancelled", "reason": reason}
            if isinstance(act, Say):
                await self._item_done(self._message(item), facts["id"], "incomplete")
            await self._send("response.done", response={**facts, "status": "cancelled", "status_details": details})
            raise
        await self._send("response.done", response={**facts, "status": "completed", "output": output})

    async def _say(self, item: Item, text: str, response_id: str) -> dict[str, Any]:
        place = {"response_id": response_id, "item_id": item.id, "output_index": 0, "content_index": 0}
        added = {"id": item.id, "type": "message", "role": "assistant", "content": [], "status": "in_progress"}
        await self._send("response.output_item.added", response_id=response_id, output_index=0, item=added)
        rate_hz = 8_000 if self._is_pcmu else 24_000
        pcm = voice(text, rate_hz)
        audio = pcmu_encode(pcm) if self._is_pcmu else pcm
        step = len(audio) * _CHUNK_MS // max(_CHUNK_MS, len(text) * 50)
        step -= step % 2
        words = text.split(" ")
        for index, start in enumerate(range(0, len(audio), step)):
            if index < len(words):  # words are known before they are said
                item.text += words[index] + (" " if index + 1 < len(words) else "")
                await self._send("response.output_audio_transcript.delta", **place, delta=words[index] + " ")
            piece = audio[start : start + step]
            self._audio_out[item.id] = self._audio_out.get(item.id, 0.0) + len(piece) * _CHUNK_MS / step
            await self._send("response.output_audio.delta", **place, delta=b64encode(piece).decode())
            if index + 1 == self.server.most_chunks:
                await asyncio.Event().wait()
            await asyncio.sleep(self.server.pace_s)
        item.text = text
        await self._send("response.output_audio.done", **place)
        await self._send("response.output_audio_transcript.done", **place, transcript=text)
        message = self._message(item)
        await self._item_done(message, response_id, "completed")
        return message

    async def _call(self, item: Item, call: CallTool, response_id: str) -> dict[str, Any]:
        call_id = self._id("call")
        self._calls.add(call_id)
        place = {"response_id": response_id, "item_id": item.id, "output_index": 0, "call_id": call_id}
        await self._send("response.function_call_arguments.done", **place, name=call.name, arguments=call.arguments)
        made = {"id": item.id, "type": "function_call", "call_id": call_id}
        made |= {"name": call.name, "arguments": call.arguments}
        await self._item_done(made, response_id, "completed")
        return {**made, "status": "completed"}

    async def _item_done(self, item: dict[str, Any], response_id: str, status: str) -> None:
        done = {**item, "status": status}
        await self._send("response.output_item.done", response_id=response_id, output_index=0, item=done)

    def _message(self, item: Item) -> dict[str, Any]:
        content = [{"type": "output_audio", "transcript": item.text}]
        return {"id": item.id, "type": "message", "role": "assistant", "content": content}

    async def _refuse(self, command: dict[str, Any], code: str) -> None:
        self.errors.append(code)
        error = {"type": "invalid_request_error", "code": code, "message": "?", "event_id": command.get("event_id")}
        await self._send("error", error=error)

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)

    def _id(self, kind: str) -> str:
        return f"{kind}_{next(self._ids)}"

    async def _send(self, kind: str, **fields: Any) -> None:
        message = {"type": kind, "event_id": self._id("event"), **fields}
        REALTIME_DOWN.check(message)
        with suppress(ConnectionClosed):
            await self.connection.send(json.dumps(message))

    def kill(self) -> None:
        """End the connection as a killed process does: no close frame."""
        self.connection.transport.abort()
