"""Workers with a call agent on virtual time, one store, and a caller who plays, loses a worker and comes back."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from testbed.simnet.loop import VirtualLoop
from testbed.simnet.process import Process
from voice_client.call.messages import Messages
from voice_client.call.tools import ToolAnswer, Tools
from voice_gateway.agent.call import Call, CallAgent, CallOptions, as_agent
from voice_gateway.agent.cascade.parts import OnWords
from voice_gateway.session.core.session_limits import SessionLimits
from voice_gateway.session.manager import SessionManager
from voice_gateway.store.base import SessionRecord
from voice_gateway.store.implementations.memory import MemoryStore
from voice_gateway.transport.base import SessionRequest
from voice_gateway.transport.memory import MemoryCaller
from voicelink.wire import (
    VOICE_PATH,
    App,
    AudioFrame,
    Codec,
    Flush,
    Played,
    Ready,
    Received,
    Resume,
    Speech,
    Start,
    ToolCall,
    ToolCancel,
    ToolResult,
    Transcript,
    Transfer,
)

VOICE, QUIET = b"\1\0" * 320, bytes(640)
FRAME_S = 0.02
WORD_MS = 200
OUTPUT_RATE_HZ = 24_000

Converse = Callable[[Call], Awaitable[None]]


class Detectors:
    """Takes a frame of ones for speech."""

    def detector(self) -> Detectors:
        return self

    rate_hz = 16_000

    def probability(self, pcm: bytes) -> float:
        return float(pcm[0])


class Words:
    """A recogniser that understands what the test's caller meant; a frame sent again gives the same words again."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def begin(self, on_words: OnWords) -> Words:
        self._on_words = on_words
        return self

    def feed(self, pcm: bytes) -> None: ...

    def end(self) -> None:
        self._on_words(tuple(self._caller.meant.split()), True)

    def abandon(self) -> None: ...


class Voice:
    """Each word takes 200 ms."""

    def synthesize(self, text: str) -> Iterator[bytes]:
        if text == "unspeakable":
            raise RuntimeError("no such sound")
        yield bytes(len(text.split()) * OUTPUT_RATE_HZ * 2 * WORD_MS // 1000)


class DyingStore(MemoryStore):
    """Kills the process that saves for the n-th time, right before or right after that save."""

    def __init__(self) -> None:
        super().__init__()
        self.saves = 0
        self.kill_at: int | None = None
        self.is_saved_first = False
        self.on_kill: Callable[[], None] = lambda: None
        self.never: asyncio.Future[None] | None = None

    async def save(self, record: SessionRecord) -> None:
        self.saves += 1
        is_last = self.saves == self.kill_at
        if not is_last or self.is_saved_first:
            await super().save(record)
        if is_last:
            self.on_kill()
            self.never = asyncio.get_running_loop().create_future()
            await self.never


class ScriptedAgent(CallAgent):
    def __init__(self, converse: Converse, caller: Caller, **options: Any) -> None:
        parts: dict[str, Any] = {"recogniser": lambda: Words(caller), "voices": Detectors, "speech": Voice}
        super().__init__(CallOptions(**parts | {"is_inline": True} | options))
        self._converse = converse

    async def converse(self, call: Call) -> None:
        await self._converse(call)


@dataclass(slots=True)
class Worker:
    """One worker's process."""

    process: Process
    manager: SessionManager
    agent: Any


@dataclass(slots=True)
class Caller:
    """A client that plays what it gets in real time, and keeps what it sent."""

    converse: Converse
    options: dict[str, Any] = field(default_factory=dict)
    store: DyingStore = field(default_factory=DyingStore)
    meant: str = ""
    workers: list[Worker] = field(default_factory=list)
    connections: list[MemoryCaller] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    played: dict[int, int] = field(default_factory=dict)
    complete: set[int] = field(default_factory=set)
    names: Any = field(default_factory=itertools.count)
    messages: Messages | None = None
    """The application's side, for a caller whose client has one."""
    tools: Tools = field(default_factory=Tools)
    received: list[Any] = field(default_factory=list)
    read: int = 0
    read_link: MemoryCaller | None = None

    @property
    def link(self) -> MemoryCaller:
        return self.connections[-1]

    @property
    def worker(self) -> Worker:
        return self.workers[-1]

    @property
    def is_alive(self) -> bool:
        return self.worker.process.is_alive

    def said(self, role: str = "agent") -> list[str]:
        """Every final line of this role that came over any connection, each as often as it was said."""
        if role == "agent":
            return [
                before.text
                for link in self.connections
                for before, after in itertools.pairwise(link.messages)
                if isinstance(before, Transcript) and before.role == "agent" and isinstance(after, Speech)
            ]
        finals = (m for link in self.connections for m in link.messages if isinstance(m, Transcript) and m.is_final)
        return [line.text for line in finals if line.role == role]

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for link in self.connections for message in link.messages if isinstance(message, kind)]

    async def start_worker(self) -> None:
        process = Process(f"worker-{len(self.workers) + 1}")
        agent = as_agent(ScriptedAgent(self.converse, self, **self.options))
        await agent.open()
        name = process.name
        ids, tokens = ((f"{name}-{kind}{n}" for n in itertools.count()) for kind in ("session", "token"))
        manager = process.context().run(
            lambda: SessionManager(
                name,
                agent,
                self.store,
                new_id=lambda: next(ids),
                new_token=lambda: next(tokens),
                limits=SessionLimits(resume_window_s=60.0),
            )
        )
        self.workers.append(Worker(process, manager, agent))

    async def call(self) -> None:
        await self.start_worker()
        self._connect(
            Start(accept=(Codec.PCM16_24K,), next_message=self.messages.next_expected if self.messages else None)
        )
        await self.run(0.1)
        self.take()

    async def come_back(self) -> None:
        """Resume at a new worker, and send again what was not acked."""
        ready = self.of(Ready)[-1]
        first = next((n for n in sorted(self.played) if n not in self.complete), max(self.played, default=0) + 1)
        newest = max((speech.utterance_id for speech in self.of(Speech)), default=0)
        await self.start_worker()
        self._connect(
            Resume(
                session=ready.session,
                token=ready.token or "",
                accept=(Codec.PCM16_24K,),
                utterance_id=newest,
                next_utterance_id=first,
                position_ms=self.played.get(first, 0),
                next_message=self.messages.next_expected if self.messages else None,
            )
        )
        await self.run(0.1)
        again = self.of(Ready)[-1]
        assert again.worker == self.worker.process.name, self.link.messages
        if self.messages is not None:
            for message in self.messages.attached(again.next_message) or ():
                self.send(message)
        for sequence in range(again.next_sequence, len(self.sent)):
            self._send(sequence)

    def kill(self) -> None:
        """End the worker as SIGKILL does."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.kill(self.worker.process)

    async def speak(self, words: str, *, pause_s: float = 0.8) -> None:
        """Say something; return when the recogniser has it."""
        self.meant = words
        await self.frames(VOICE, 0.3)
        await self.frames(QUIET, pause_s)

    async def frames(self, pcm: bytes, seconds: float) -> None:
        for _ in range(round(seconds / FRAME_S)):
            self.sent.append(pcm)
            if self.is_alive:
                self._send(len(self.sent) - 1)
            await self.run(FRAME_S)

    async def run(self, seconds: float) -> None:
        """Let time pass, and play."""
        for _ in range(max(1, round(seconds / FRAME_S))):
            await asyncio.sleep(FRAME_S)
            if self.is_alive and self.connections:
                self._play()
                self.take()

    async def until(self, is_so: Callable[[], bool], timeout_s: float = 60.0) -> None:
        for _ in range(round(timeout_s / FRAME_S)):
            if is_so():
                return
            await self.run(FRAME_S)
        raise AssertionError(f"it did not happen within {timeout_s} s; said: {self.said()}")

    def send(self, message: Any) -> None:
        self._in_worker(lambda: self.link.send(message))

    def say(self, message: Any) -> None:
        """Send a numbered message, or keep it for when the call goes on."""
        assert self.messages is not None
        message = self.messages.add(message)
        if self.is_alive:
            self.send(message)

    def take(self) -> None:
        """Take the numbered messages that have come, as a client does."""
        if self.messages is None:
            return
        link, self.read = self.link, self.read if self.read_link is self.link else 0
        self.read_link = link
        for message in link.messages[self.read :]:
            self.read += 1
            match message:
                case Received(number=number):
                    assert self.messages.acknowledge(number)
                case App() | ToolCall() | ToolCancel() | Transfer():
                    if self.messages.received(message):
                        self._receive(message)
                    self.send(Received(number=message.number))

    def _receive(self, message: Any) -> None:
        self.received.append(message)
        if isinstance(message, ToolCall):
            self.tools.call(message, self._answer)
        elif isinstance(message, ToolCancel):
            self.tools.cancel(message.call_id)

    def _answer(self, call_id: str, answer: ToolAnswer) -> None:
        self.say(ToolResult(number=0, call_id=call_id, result=answer.result, error=answer.error))

    async def close(self) -> None:
        self.tools.close()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        if self.store.never is not None:
            self.store.never.cancel()
        loop.bury()
        for worker in self.workers:
            await worker.manager.close()
            await worker.agent.close()

    def _connect(self, first: Start | Resume) -> None:
        request = SessionRequest(VOICE_PATH, "192.0.2.1:5000", None)
        self._in_worker(lambda: self.connections.append(MemoryCaller(self.worker.manager.accept, request)))
        self.send(first)

    def _in_worker(self, do: Callable[[], object]) -> None:
        self.worker.process.context().run(do)

    def _send(self, sequence: int) -> None:
        frame = AudioFrame(sequence, sequence * 960, Codec.PCM16_16K, self.sent[sequence])
        self._in_worker(lambda: self.link.send_audio(frame))

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
            self.send(Played(utterance_id=utterance_id, position_ms=position, is_complete=is_complete))
            return


def on_virtual_time(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run it; fails where a task is left."""

    async def run() -> None:
        await scenario()
        await asyncio.sleep(0.1)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        assert loop.live_tasks() == set(), loop.describe_tasks()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


def calling(converse: Converse, scenario: Callable[[Caller], Awaitable[None]], **options: Any) -> Caller:
    """Run a scenario with an agent of this coroutine; return what its caller saw."""
    caller = Caller(converse, options)

    async def run() -> None:
        try:
            await scenario(caller)
        finally:
            await caller.close()

    on_virtual_time(run)
    return caller
