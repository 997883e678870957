"""A worker with a LiveKit agent in this process, and a caller who plays in real time."""

from __future__ import annotations

import asyncio
import itertools
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voice_gateway.agent.base import Agent
from voice_gateway.session.core.session_limits import SessionLimits
from voice_gateway.session.manager import SessionManager
from voice_gateway.store.base import SessionRecord
from voice_gateway.store.implementations.memory import MemoryStore
from voice_gateway.transport.base import SessionRequest
from voice_gateway.transport.memory import MemoryCaller
from voicelink.wire import VOICE_PATH, AudioFrame, Codec, Flush, Heard, Played, Speech, Start, Transcript

RECORDINGS = Path(__file__).parents[2] / "audio"
FRAME_S = 0.02
FRAME_BYTES = 640


def recording(name: str) -> bytes:
    with wave.open(str(RECORDINGS / f"{name}.wav")) as file:
        assert file.getframerate() == 16_000
        return file.readframes(file.getnframes())


class RememberingStore(MemoryStore):
    """Shows each record that was saved."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[SessionRecord] = []

    async def save(self, record: SessionRecord) -> None:
        await super().save(record)
        self.records.append(record)


@dataclass(slots=True)
class Caller:
    agent: Agent
    store: RememberingStore = field(default_factory=RememberingStore)
    connections: list[MemoryCaller] = field(default_factory=list)
    manager: SessionManager | None = None
    sent: list[bytes] = field(default_factory=list)
    played: dict[int, int] = field(default_factory=dict)
    complete: set[int] = field(default_factory=set)
    is_playing: bool = True
    reports: bool = True
    ticking: asyncio.Task[None] | None = None

    @property
    def link(self) -> MemoryCaller:
        return self.connections[-1]

    @property
    def private(self) -> dict[str, Any]:
        """What the session saved last, of the agent's own."""
        return dict(self.store.records[-1].private_state) if self.store.records else {}

    @property
    def acked(self) -> int:
        return max((m.sequence for link in self.connections for m in link.messages if isinstance(m, Heard)), default=-1)

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for link in self.connections for message in link.messages if isinstance(message, kind)]

    def said(self, role: str = "agent") -> list[str]:
        """Every final line of this role, each as often as it was said."""
        if role == "agent":
            return [
                before.text
                for link in self.connections
                for before, after in itertools.pairwise(link.messages)
                if isinstance(before, Transcript) and before.role == "agent" and isinstance(after, Speech)
            ]
        return [m.text for m in self.of(Transcript) if m.is_final and m.role == role]

    async def call(self) -> None:
        await self.agent.open()
        self.manager = SessionManager(
            "worker-1",
            self.agent,
            self.store,
            new_id=lambda: "session-1",
            new_token=lambda: "token-1",
            limits=SessionLimits(resume_window_s=60.0),
        )
        self.connections.append(MemoryCaller(self.manager.accept, SessionRequest(VOICE_PATH, "192.0.2.1:5000", None)))
        self.link.send(Start(accept=(Codec.PCM16_24K,)))
        self.ticking = asyncio.create_task(self._tick())

    async def say(self, pcm: bytes, pause_s: float = 0.0) -> None:
        """Speak in real time."""
        pcm += bytes(round(pause_s / FRAME_S) * FRAME_BYTES)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for n in range(len(pcm) // FRAME_BYTES):
            self.sent.append(pcm[n * FRAME_BYTES : (n + 1) * FRAME_BYTES])
            self._send(len(self.sent) - 1)
            await asyncio.sleep(max(0.0, began + (n + 1) * FRAME_S - loop.time()))

    async def until(self, is_so: Callable[[], object], what: str, timeout_s: float = 40.0) -> None:
        """Be silent until it is so."""
        for _ in range(round(timeout_s / FRAME_S)):
            if is_so():
                return
            await self.say(bytes(FRAME_BYTES))
        raise AssertionError(f"{what} did not come; user: {self.said('user')}, agent: {self.said()}")

    async def close(self) -> None:
        if self.ticking is not None:
            self.ticking.cancel()
        if self.manager is not None:
            await self.manager.close()
        await self.agent.close()

    def _send(self, sequence: int) -> None:
        self.link.send_audio(AudioFrame(sequence, sequence * 960, Codec.PCM16_16K, self.sent[sequence]))

    async def _tick(self) -> None:
        """Play in real time: what a busy machine held up is played later, and never faster."""
        loop = asyncio.get_running_loop()
        at = loop.time()
        while True:
            at = max(at, loop.time() - FRAME_S) + FRAME_S
            await asyncio.sleep(max(0.0, at - loop.time()))
            if self.is_playing:
                self._play()

    def _play(self) -> None:
        flushed = max((flush.utterance_id for flush in self.link.messages if isinstance(flush, Flush)), default=0)
        for utterance_id, downlink in sorted(self.link.utterances.items()):
            if utterance_id in self.complete or downlink.is_reset or utterance_id <= flushed:
                self.complete.add(utterance_id)
                continue
            whole_ms = len(downlink.frames) * 20
            position = min(whole_ms, self.played.get(utterance_id, 0) + round(FRAME_S * 1000))
            self.played[utterance_id] = position
            is_complete = downlink.is_ended and position == whole_ms
            if is_complete:
                self.complete.add(utterance_id)
            if self.reports:
                self.link.send(Played(utterance_id=utterance_id, position_ms=position, is_complete=is_complete))
            return
