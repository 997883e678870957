"""Parties that have turns with an agent: in one process, through a worker, or with a vendor over its WebSocket.

A turn is given at once but for its last frame, 20 ms later; what is measured begins with that frame.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from bench.hosts.cell import Cell
from voice_client import AudioOptions, Security, VoiceClient
from voice_gateway.agent.base import (
    Agent,
    AgentEvent,
    PlaybackFinished,
    Reply,
    ReplyAudio,
    ReplyEnded,
    ReplyText,
    SessionView,
    UserAudio,
)

FRAME_S: Final = 0.02
_TURN_TIMEOUT_S: Final = 15.0
_QUIET_S: Final = 0.3
_VENDOR_TAKES_S: Final = 0.1
_AUDIBLE: Final = 500


class Talker(ABC):
    """One call."""

    async def turn(self, frames: Sequence[bytes]) -> float:
        """Have a turn, and return the ms from its last frame to the first sound of the answer."""
        loop = asyncio.get_running_loop()
        self.begin()
        for frame in frames[:-1]:
            await self.give(frame)
        await asyncio.sleep(FRAME_S)  # the other side has taken these
        given_at = loop.time()
        await self.give(frames[-1])
        async with asyncio.timeout(_TURN_TIMEOUT_S):
            answered_at = await self.first_sound(given_at)
            await self.end()
        return (answered_at - given_at) * 1000

    @abstractmethod
    def begin(self) -> None:
        """A turn follows: forget the one before."""

    @abstractmethod
    async def give(self, frame: bytes) -> None:
        """Give 20 ms."""

    @abstractmethod
    async def first_sound(self, since: float) -> float:
        """Return when sound of the answer came or is heard, on the event loop's clock."""

    @abstractmethod
    async def end(self) -> None:
        """Wait until the answer is over."""


class AgentTalker(Talker):
    """Calls the agent in this process; answers count as played when they are made."""

    def __init__(self, agent: Agent) -> None:
        self._loop = asyncio.get_running_loop()
        self._first: asyncio.Future[float] = self._loop.create_future()
        self._ended = asyncio.Event()
        self._text = ""
        self._sequence = 0
        self._conversation = agent.converse(self._take, None)
        self._conversation.opened(SessionView("turns", 0, {}, tuple, lambda: True))

    def begin(self) -> None:
        self._first = self._loop.create_future()
        self._ended.clear()

    async def give(self, frame: bytes) -> None:
        self._conversation.hear(UserAudio(self._sequence, frame))
        self._sequence += 1

    async def first_sound(self, since: float) -> float:
        return await self._first

    async def end(self) -> None:
        await self._ended.wait()

    def close(self) -> None:
        """End the call."""
        self._conversation.close()

    def _take(self, event: AgentEvent) -> None:
        match event:
            case Reply(text) | ReplyText(text):
                self._text = text
            case ReplyAudio() if not self._first.done():
                self._first.set_result(self._loop.time())
            case ReplyEnded():
                self._loop.call_soon(self._conversation.playback_finished, PlaybackFinished(self._text, 0))
                self._ended.set()
            case _:
                pass


class GatewayTalker(Talker):
    """Calls through a worker on loopback, with the SDK; what is measured ends when it plays."""

    def __init__(self, client: VoiceClient, ear: _Ear) -> None:
        self._client = client
        self._ear = ear

    def begin(self) -> None:
        self._ear.audible_at.clear()

    async def give(self, frame: bytes) -> None:
        self._client.send_pcm(frame)

    async def first_sound(self, since: float) -> float:
        while not self._ear.audible_at:  # noqa: ASYNC110 - a sink has no event to wait for
            await asyncio.sleep(0.001)
        return self._ear.audible_at[0]

    async def end(self) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < self._ear.audible_at[-1] + _QUIET_S:  # noqa: ASYNC110 - the clock decides
            await asyncio.sleep(0.02)


class _Ear:
    def __init__(self) -> None:
        self.audible_at: list[float] = []

    def play(self, at_s: float, pcm: bytes) -> None:
        if np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)).max(initial=0) > _AUDIBLE:
            self.audible_at.append(at_s)

    def flush(self) -> None: ...

    def close(self) -> None: ...


@asynccontextmanager
async def gateway_talker(cell: Cell) -> AsyncIterator[GatewayTalker]:
    """Start the cell, and call its worker without loss of PCM."""
    ear = _Ear()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(cell.stop)
        await cell.start()
        client = VoiceClient(
            f"https://{cell.facts['direct']}/v1/voice",
            security=Security(ca_file=cell.folder / "certs" / "ca.pem"),
            audio=AudioOptions(codec="pcm16", sinks=(ear,)),
        )
        await stack.enter_async_context(client)
        yield GatewayTalker(client, ear)


class VendorTalker(Talker):
    """Speaks OpenAI's Realtime protocol with the local vendor, with nothing between."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    @classmethod
    async def opened(cls, connection: ClientConnection, silence_ms: int) -> VendorTalker:
        """Configure the session."""
        audio_format = {"type": "audio/pcm", "rate": 24_000}
        detection = {
            "type": "server_vad",
            "create_response": True,
            "interrupt_response": True,
            "silence_duration_ms": silence_ms,
        }
        session = {
            "type": "realtime",
            "output_modalities": ["audio"],
            "audio": {
                "input": {
                    "format": audio_format,
                    "transcription": {"model": "gpt-4o-transcribe"},
                    "turn_detection": detection,
                },
                "output": {"format": audio_format, "voice": "marin"},
            },
        }
        await connection.send(json.dumps({"type": "session.update", "session": session}))
        talker = cls(connection)
        await talker._until("session.updated")
        return talker

    def begin(self) -> None:
        """Messages that were not read are those of the turn before, and are passed over."""

    async def give(self, frame: bytes) -> None:
        message = {"type": "input_audio_buffer.append", "audio": b64encode(frame).decode()}
        await self._connection.send(json.dumps(message))

    async def first_sound(self, since: float) -> float:
        await self._until("response.output_audio.delta")
        return asyncio.get_running_loop().time()

    async def end(self) -> None:
        await self._until("response.done")

    async def whole_turn(self, frames: Sequence[bytes]) -> list[bytes]:
        """Return the frames of a turn with as much silence behind them as ends it at the vendor."""
        turn = list(frames)
        for frame in frames:
            await self.give(frame)
        over = asyncio.create_task(self._until("input_audio_buffer.speech_stopped"))
        while not over.done():
            turn.append(bytes(len(frames[0])))
            await self.give(turn[-1])
            await asyncio.wait([over], timeout=_VENDOR_TAKES_S)
        await self.end()
        return turn

    async def _until(self, kind: str) -> None:
        while True:
            message: dict[str, Any] = json.loads(await self._connection.recv())
            if message["type"] == kind:
                return


@asynccontextmanager
async def vendor_talker(port: int, key: str, silence_ms: int) -> AsyncIterator[VendorTalker]:
    """Call the local vendor."""
    url = f"ws://127.0.0.1:{port}/v1/realtime?model=gpt-realtime-2.1"
    async with connect(url, additional_headers={"Authorization": f"Bearer {key}"}, compression=None) as connection:
        yield await VendorTalker.opened(connection, silence_ms)
