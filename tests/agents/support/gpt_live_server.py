"""OpenAI's side of the GPT-Live WebSocket: strict in the shape and the order of messages; speaks at a steady pace."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.agents.support.openai_checks import LIVE_DOWN, LIVE_UP, NotOfTheProtocol
from tests.agents.support.vendor_voice import Activity, Brain, CallTool, Ears, Entry, echo_brain, voice
from voicelink.audio.codecs.g711 import pcmu_decode, pcmu_encode

KEY = "sk-local"
_CHUNK_MS = 20
_SAY = "Say exactly the following text, word for word, in its own language, and nothing else:\n\n"
_TYPED = "The caller typed this. Answer it now:\n\n"
_TYPED_PART = "The beginning of a text that the caller types, whose end follows. Do not answer yet:\n\n"
_MOST_TOKENS = 500


@dataclass(slots=True)
class LiveServer:
    """How the vendor behaves, and what it saw."""

    brain: Brain = echo_brain
    ears: Ears = field(default_factory=Ears)
    pace_s: float = 0.002
    """How long 20 ms of its audio take."""
    cut: Callable[[str], bool] = lambda _name: False
    """Gets "up" and the type of each command, and ends the connection in its place where it returns true."""
    sessions: list[LiveSession] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1"

    def process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no such key\n")
        if urlsplit(request.path).path.replace("//", "/") != "/v1/live/sessions":
            return connection.respond(HTTPStatus.NOT_FOUND, "no such path\n")
        return None

    async def handle(self, connection: ServerConnection) -> None:
        session = LiveSession(self, connection)
        self.sessions.append(session)
        await session.run()


@asynccontextmanager
async def live_server(**behaviour: Any) -> AsyncIterator[LiveServer]:
    server = LiveServer(**behaviour)
    listening: Server = await serve(server.handle, "127.0.0.1", 0, process_request=server.process_request)
    server.port = next(iter(listening.sockets)).getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()
    assert not server.faults, server.faults


class LiveSession:
    """One session; a command that the protocol does not allow at its place closes it, and is a fault of the test."""

    def __init__(self, server: LiveServer, connection: ServerConnection) -> None:
        self.server = server
        self.connection = connection
        self.config: dict[str, Any] | None = None
        self.known: list[Entry] = []
        self.received: list[str] = []
        self._ids = itertools.count(1)
        self._is_pcmu = False
        self._rate_hz = 24_000
        self._activity = Activity(24_000)
        self._heard = bytearray()
        self._begun_ms = 0
        self._speech = bytearray()
        self._calls: set[str] = set()
        self._typed = ""
        self._output: list[Any] = []
        self._speaking: asyncio.Task[None] | None = None

    async def run(self) -> None:
        try:
            async for raw in self.connection:
                command = json.loads(raw)
                LIVE_UP.check(command)
                self.received.append(command["type"])
                if self.server.cut(f"up {command['type']}"):
                    self.kill()
                    break
                await self._take(command)
        except (NotOfTheProtocol, json.JSONDecodeError, AssertionError) as error:
            self.server.faults.append(f"{type(error).__name__}: {error}")
            await self.connection.close(1008, "invalid")
        except ConnectionClosed:
            pass
        finally:
            if self._speaking is not None:
                self._speaking.cancel()

    async def _take(self, command: dict[str, Any]) -> None:
        kind = command["type"]
        assert (self.config is None) == (kind == "session.start"), f"{kind} is out of order"
        match kind:
            case "session.start":
                await self._start(command["session"])
            case "session.input_audio.append":
                await self._hear(b64decode(command["audio"], validate=True))
            case "session.thinking.append":
                assert len(command["content"]) <= _MOST_TOKENS, "the content is too long"
                self._typed += command["content"].removeprefix(_TYPED_PART)
            case "session.commentary.append":
                await self._comment(command["content"])
            case "response.item.create":
                assert self.config is not None
                assert "delegation" in self.config, "no Responses delegation"
                await self._add(command["item"])
            case "response.create":
                await self._act()
            case _:
                raise AssertionError(f"the local vendor does not know {kind}")

    async def _start(self, session: dict[str, Any]) -> None:
        self.config = session
        audio_format = session["audio"]["format"]
        assert audio_format in ({"type": "audio/pcmu", "rate": 8_000}, {"type": "audio/pcm", "rate": 24_000})
        self._is_pcmu = audio_format["type"] == "audio/pcmu"
        self._rate_hz = audio_format["rate"]
        self._activity = Activity(self._rate_hz)
        self.known = [Entry(each["role"], each["content"][0]["text"]) for each in session.get("input", ())]
        resource = {**session, "id": "live_1", "status": "active", "expires_at": int(time.time()) + 3_600}
        await self._send("session.started", session=resource)
        self._speaking = asyncio.get_running_loop().create_task(self._speak())

    async def _hear(self, audio: bytes) -> None:
        pcm = pcmu_decode(audio) if self._is_pcmu else audio
        step = self._rate_hz * 2 // 1000 * 20
        for start in range(0, len(pcm), step):
            self._heard += pcm[start : start + step]
            change = self._activity.hear(pcm[start : start + step])
            if change:
                self._begun_ms = max(0, int(self._activity.position_ms) - 400)
                self._speech.clear()
            elif change is False:
                await self._understand(int(self._activity.position_ms))

    async def _understand(self, end_ms: int) -> None:
        said = bytes(self._heard[self._begun_ms * self._rate_hz * 2 // 1000 :])
        words = self.server.ears.transcribe(said, self._rate_hz)
        for word in words.split(" "):
            times: dict[str, Any] = {"start_ms": self._begun_ms, "end_ms": end_ms}
            await self._send("session.input_transcript.delta", delta=word + " ", **times)
        self.known.append(Entry("user", words))
        await self._act()

    async def _delegate(self, call: CallTool, at_ms: int) -> None:
        assert self.config is not None
        names = [tool["name"] for tool in self.config["delegation"]["responses"]["tools"]]
        assert call.name in names
        call_id = self._id("call")
        self._calls.add(call_id)
        delegation = {"id": self._id("deleg"), "type": "delegation", "target": "responses", "response_id": "resp_1"}
        await self._send("session.delegation.created", delegation=delegation, offset_ms=at_ms)
        item = {"type": "function_call", "call_id": call_id, "name": call.name, "arguments": call.arguments}
        for kind in ("response.output_item.added", "response.output_item.done"):
            nested = {"type": kind, "output_index": 0, "item": item}
            await self._send("response.event", event=nested, delegation_id=delegation["id"])

    async def _comment(self, content: str) -> None:
        if content.startswith(_SAY):
            await self._say(content.removeprefix(_SAY))
            return
        if content.startswith(_TYPED):
            assert len(content) <= _MOST_TOKENS, "the content is too long"
            self.known.append(Entry("user", self._typed + content.removeprefix(_TYPED)))
            self._typed = ""
        await self._act()

    async def _add(self, item: dict[str, Any]) -> None:
        if item["type"] == "message":
            assert item["role"] == "user"
            self.known.append(Entry("user", item["content"][0]["text"]))
            return
        assert item["call_id"] in self._calls, "the result of a tool that was not called"
        self._calls.discard(item["call_id"])
        self.known.append(Entry("tool", item["output"]))

    async def _act(self) -> None:
        act = self.server.brain(self.known)
        if isinstance(act, CallTool):
            await self._delegate(act, int(self._activity.position_ms))
        else:
            await self._say(act.text)

    async def _say(self, text: str) -> None:
        self.known.append(Entry("assistant", text))
        at_ms = int(self._activity.position_ms)
        for word in text.split(" "):
            await self._send("session.output_transcript.delta", delta=word + " ", start_ms=at_ms, end_ms=at_ms + 10)
        self._speech += voice(text, self._rate_hz)

    async def _speak(self) -> None:
        size = self._rate_hz * 2 * _CHUNK_MS // 1000
        while True:
            piece = bytes(self._speech[:size]).ljust(size, b"\0")
            del self._speech[:size]
            audio = pcmu_encode(piece) if self._is_pcmu else piece
            await self._send("session.output_audio.delta", delta=b64encode(audio).decode(), is_numbered=False)
            await asyncio.sleep(self.server.pace_s)

    def _id(self, kind: str) -> str:
        return f"{kind}_{next(self._ids)}"

    async def _send(self, kind: str, *, is_numbered: bool = True, **fields: Any) -> None:
        message = {"type": kind, **({"event_id": self._id("event")} if is_numbered else {}), **fields}
        LIVE_DOWN.check(message)
        with suppress(ConnectionClosed):
            await self.connection.send(json.dumps(message))

    def kill(self) -> None:
        """End the connection as a killed process does: no close frame."""
        self.connection.transport.abort()
