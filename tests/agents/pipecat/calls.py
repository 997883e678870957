"""A worker's sessions, and a caller that speaks, plays in real time, loses its worker and comes back."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from voice_gateway.agent.base import Agent
from voice_gateway.session.core.session_limits import SessionLimits
from voice_gateway.session.manager import SessionManager
from voice_gateway.store.base import SessionRecord, SessionStore
from voice_gateway.store.implementations.memory import MemoryStore
from voice_gateway.transport.base import SessionRequest
from voice_gateway.transport.memory import MemoryCaller
from voicelink.wire import VOICE_PATH, App, AudioFrame, Codec, Flush, Played, Ready, Resume, Speech, Start, Transcript

FRAME_S = 0.02
FRAME_BYTES = 640


class DeadStore(SessionStore):
    """The store as a killed worker sees it: what it saves from now on is lost."""

    def __init__(self, store: SessionStore) -> None:
        self.store = store
        self.is_dead = False

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def save(self, record: SessionRecord) -> None:
        if self.is_dead:
            await asyncio.get_running_loop().create_future()
        await self.store.save(record)

    async def claim(self, record: SessionRecord) -> bool:
        return await self.store.claim(record)

    async def load(self, session_id: str) -> SessionRecord | None:
        return await self.store.load(session_id)

    async def delete(self, session_id: str, epoch: int) -> None:
        await self.store.delete(session_id, epoch)


@dataclass(slots=True)
class Caller:
    """Speaks PCM16 at 16 kHz, and plays what it gets; `is_dark` is a blackout of its network: nothing moves."""

    make_agent: Callable[[], Agent]
    store: MemoryStore = field(default_factory=MemoryStore)
    links: list[MemoryCaller] = field(default_factory=list)
    played: dict[int, int] = field(default_factory=dict)
    complete: set[int] = field(default_factory=set)
    sent: list[bytes] = field(default_factory=list)
    is_dark: bool = False
    agents: list[Agent] = field(default_factory=list)
    managers: list[SessionManager] = field(default_factory=list)
    stores: list[DeadStore] = field(default_factory=list)
    playing: asyncio.Task[None] | None = None

    async def start_worker(self) -> None:
        agent = self.make_agent()
        await agent.open()
        name = f"worker-{len(self.agents) + 1}"
        ids, tokens = ((f"{name}-{kind}{n}" for n in itertools.count()) for kind in ("session", "token"))
        store = DeadStore(self.store)
        self.stores.append(store)
        self.agents.append(agent)
        self.managers.append(
            SessionManager(
                name,
                agent,
                store,
                new_id=lambda: next(ids),
                new_token=lambda: next(tokens),
                limits=SessionLimits(resume_window_s=60.0),
            )
        )

    async def call(self) -> None:
        await self.start_worker()
        self._connect(Start(accept=(Codec.PCM16_24K,), next_message=0))
        self.playing = asyncio.create_task(self._play())
        await self.until(lambda: bool(self.of(Ready)), "ready")

    async def die(self) -> None:
        """The worker's process is gone: it saves, sends and hears nothing any more."""
        self.stores[-1].is_dead = True
        self.links[-1].hang_up("killed")
        await self.agents[-1].close()

    async def come_back(self, *, at_same_worker: bool = False) -> None:
        ready = self.of(Ready)[-1]
        first = next((n for n in sorted(self.played) if n not in self.complete), max(self.played, default=0) + 1)
        newest = max((speech.utterance_id for speech in self.of(Speech)), default=0)
        if not at_same_worker:
            await self.start_worker()
        self._connect(
            Resume(
                session=ready.session,
                token=ready.token or "",
                accept=(Codec.PCM16_24K,),
                utterance_id=newest,
                next_utterance_id=first,
                position_ms=self.played.get(first, 0),
                next_message=len(self.of(App)),
            )
        )
        await self.until(lambda: len(self.of(Ready)) == len(self.links), "ready again")
        for sequence in range(self.of(Ready)[-1].next_sequence, len(self.sent)):
            self._send(sequence)

    async def say(self, pcm: bytes) -> None:
        """Speak at the pace of speech."""
        loop = asyncio.get_running_loop()
        began, count = loop.time(), len(pcm) // FRAME_BYTES
        for index in range(count):
            self.sent.append(pcm[index * FRAME_BYTES : (index + 1) * FRAME_BYTES])
            if not self.is_dark and self.links[-1].messages is not None:
                self._send(len(self.sent) - 1)
            await asyncio.sleep(max(0.0, began + (index + 1) * FRAME_S - loop.time()))

    async def until(self, is_so: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
        loop = asyncio.get_running_loop()
        by = loop.time() + timeout_s
        while not is_so():
            assert loop.time() < by, f"{what} did not come; there were {self.links[-1].messages}"
            await asyncio.sleep(0.01)

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for link in self.links for message in link.messages if isinstance(message, kind)]

    def lines(self, role: str) -> list[str]:
        """Every final line of this role, each as often as it came."""
        return [line.text for line in self.of(Transcript) if line.role == role and line.is_final]

    @property
    def played_ms(self) -> int:
        return sum(self.played.values())

    async def close(self) -> None:
        if self.playing is not None:
            self.playing.cancel()
        for manager in self.managers:
            await manager.close()
        for agent in self.agents:
            await agent.close()

    def send(self, message: Any) -> None:
        self.links[-1].send(message)

    def _connect(self, first: Start | Resume) -> None:
        request = SessionRequest(VOICE_PATH, "192.0.2.1:5000", None)
        self.links.append(MemoryCaller(self.managers[-1].accept, request))
        self.send(first)

    def _send(self, sequence: int) -> None:
        self.links[-1].send_audio(AudioFrame(sequence, sequence * 960, Codec.PCM16_16K, self.sent[sequence]))

    async def _play(self) -> None:
        """Play in real time: what a busy machine held up is played later, and never faster."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due, loop.time() - FRAME_S) + FRAME_S
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not self.is_dark and not self.stores[-1].is_dead:
                self._play_frame()

    def _play_frame(self) -> None:
        link = self.links[-1]
        flushed = max((flush.utterance_id for flush in link.messages if isinstance(flush, Flush)), default=0)
        for utterance_id, downlink in sorted(link.utterances.items()):
            if utterance_id in self.complete or downlink.is_reset or utterance_id <= flushed:
                self.complete.add(utterance_id)
                continue
            whole_ms = len(downlink.frames) * 20
            position = min(whole_ms, self.played.get(utterance_id, 0) + round(FRAME_S * 1000))
            self.played[utterance_id] = position
            is_complete = downlink.is_ended and position == whole_ms
            if is_complete:
                self.complete.add(utterance_id)
            if is_complete or position % 200 == 0:
                link.send(Played(utterance_id=utterance_id, position_ms=position, is_complete=is_complete))
            return
