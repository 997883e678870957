"""Crashes, duplicate resumes, split brain and late frames in any order: no frame lost, none counted twice, one owner.

A caller counts: the payload of frame n is n. Each worker's agent keeps what it received in its state, so that two
owners whose writes were mixed, a frame missed, or one counted twice would show as a list that is not 0, 1, 2, ...
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from voice_gateway.agent.base import Agent, Conversation, Emit, FinalTranscript, UserAudio
from voice_gateway.errors import StoreError
from voice_gateway.session.core.session_limits import SessionLimits
from voice_gateway.session.manager import SessionManager
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.session.runtime.live_session import LiveSession
from voice_gateway.store.base import SessionRecord
from voice_gateway.store.implementations.memory import MemoryStore
from voice_gateway.transport.base import SessionRequest
from voice_gateway.transport.memory import MemoryCaller
from voicelink.wire import VOICE_PATH, AudioFrame, CloseCode, Codec, Heard, Ping, Ready, Resume, Start

WORKERS = 3
LIMITS = SessionLimits(save_retry_s=0.002, resume_window_s=3600.0, idle_timeout_s=3600.0, start_timeout_s=3600.0)


class Listener(Agent):
    """An agent whose utterances are three frames long; its state is every frame it has understood."""

    name = "listener"
    input_rate_hz = 8_000
    output_rate_hz = 8_000

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Listening:
        return Listening(emit, list(state["frames"]) if state else [])


class Listening(Conversation):
    def __init__(self, emit: Emit, received: list[int]) -> None:
        super().__init__(emit)
        self.received = received
        self.pending: list[int] = []

    def hear(self, audio: UserAudio) -> None:
        self.pending.append(audio.sequence)
        if len(self.pending) == 3:
            self.received += self.pending
            self.pending.clear()
            self.emit(FinalTranscript(f"up to {audio.sequence}", audio.sequence, {"frames": list(self.received)}))


class CrashedManager:
    """The owner of the sessions of a crashed worker: it does nothing any more."""

    def session_ended(self, live: LiveSession) -> None: ...


class SharedStore(MemoryStore):
    """A store that may be away, and that watches who writes."""

    def __init__(self) -> None:
        super().__init__(ttl_s=1e9)
        self.is_away = False
        self.epoch = 0
        self.breaches: list[str] = []

    async def save(self, record: SessionRecord) -> None:
        self.check()
        await super().save(record)
        stored = await super().load(record.session_id)
        assert stored is not None
        if stored.epoch < self.epoch:
            self.breaches.append("a fenced owner wrote")
        self.epoch = stored.epoch

    async def claim(self, record: SessionRecord) -> bool:
        self.check()
        is_claimed = await super().claim(record)
        if is_claimed:
            if record.epoch != self.epoch + 1:
                self.breaches.append("two owners of one epoch")
            self.epoch = record.epoch
        return is_claimed

    async def load(self, session_id: str) -> SessionRecord | None:
        self.check()
        return await super().load(session_id)

    def check(self) -> None:
        if self.is_away:
            raise StoreError("away")


class Ownership(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.runner.get_loop()
        self.store = SharedStore()
        self.names = itertools.count()
        self.ids = itertools.count()
        self.workers = [self.new_worker() for _ in range(WORKERS)]
        self.sent = self.acked = 0
        self.token: str | None = None
        self.caller: MemoryCaller | None = None
        self.former: list[MemoryCaller] = []
        self.carried: dict[int, list[int]] = {}
        self.seen = 0
        self.is_ready = False
        self.runner.run(self.begin())

    def teardown(self) -> None:
        self.store.is_away = False
        self.runner.run(self.finish())
        self.runner.close()

    def new_worker(self) -> SessionManager:
        name = next(self.names)
        tokens = itertools.count()
        return SessionManager(
            f"w-{name}",
            Listener(),
            self.store,
            new_id=lambda: f"s-{next(self.ids)}",
            new_token=lambda: f"{name}-{next(tokens)}",
            limits=LIMITS,
        )

    async def connect(self, worker: SessionManager, first: Start | Resume) -> MemoryCaller:
        caller = MemoryCaller(worker.accept, SessionRequest(VOICE_PATH, "192.0.2.1:1", None))
        caller.send(first)
        return caller

    async def run_loop(self) -> None:
        for _ in range(12):
            await asyncio.sleep(0)
        self.read()

    async def begin(self) -> None:
        self.caller = await self.connect(self.workers[0], Start(accept=(Codec.PCMU,)))
        await self.run_loop()
        assert self.is_ready

    def read(self) -> None:
        """Do what a client does with the newest messages."""
        caller = self.caller
        if caller is None:
            return
        messages, self.seen = caller.messages[self.seen :], len(caller.messages)
        for message in messages:
            if isinstance(message, Ready):
                assert self.acked <= message.next_sequence <= self.sent, "what was acked cannot be sent again"
                self.token, self.is_ready = message.token, True
                for sequence in range(message.next_sequence, self.sent):
                    self.carry(caller, sequence)
            elif isinstance(message, Heard):
                assert message.sequence < self.sent
                self.acked = max(self.acked, message.sequence + 1)
        if caller.closed is not None:
            assert caller.closed[0] in (CloseCode.TAKEN_OVER, CloseCode.OVERLOADED), caller.closed
            self.is_ready = False
            self.caller = None

    async def resume(self, worker: SessionManager) -> None:
        assert self.token is not None
        if self.caller is not None:
            self.former.append(self.caller)
        self.is_ready, self.seen = False, 0
        self.caller = await self.connect(worker, Resume(session="s-0", token=self.token, accept=(Codec.PCMU,)))
        await self.run_loop()

    async def finish(self) -> None:
        """After any sequence of faults the call can be resumed and brought to its end, complete."""
        for worker in self.workers * 3:
            if not self.is_ready:
                await self.resume(worker)
        assert self.is_ready
        while self.sent % 3:
            self.say()
        for _ in range(10):
            await self.run_loop()
            await asyncio.sleep(0.003)
        self.read()
        assert self.acked == self.sent, "not every frame was acked"
        record = await self.store.load("s-0")
        assert record is not None
        assert record.state.get("frames", []) == list(range(self.sent))
        for worker in self.workers:
            await worker.close()

    def say(self) -> None:
        self.sent += 1
        if self.caller is not None and self.is_ready:
            self.carry(self.caller, self.sent - 1)

    def carry(self, caller: MemoryCaller, sequence: int) -> None:
        self.carried.setdefault(id(caller), []).append(sequence)
        caller.send_audio(frame(sequence))

    @rule(count=st.integers(1, 5))
    def speak(self, count: int) -> None:
        async def speak() -> None:
            for _ in range(count):
                self.say()
            await self.run_loop()

        self.runner.run(speak())

    @rule(count=st.integers(1, 4))
    def speak_and_let_nothing_settle(self, count: int) -> None:
        async def speak() -> None:
            for _ in range(count):
                self.say()

        self.runner.run(speak())

    @rule()
    @precondition(lambda self: self.is_ready)
    def prove_that_ready_arrived(self) -> None:
        async def ping() -> None:
            if self.caller is not None:
                self.caller.send(Ping(id=1))
            await self.run_loop()

        self.runner.run(ping())

    @rule(worker=st.integers(0, WORKERS - 1))
    def resume_at(self, worker: int) -> None:
        """Also while the old connection is still there, whose worker may believe that it owns the session."""
        self.runner.run(self.resume(self.workers[worker]))

    @rule(first=st.integers(0, WORKERS - 1), second=st.integers(0, WORKERS - 1))
    def resume_twice_at_once(self, first: int, second: int) -> None:
        async def both() -> None:
            lost = await self.connect(
                self.workers[first], Resume(session="s-0", token=self.token or "", accept=(Codec.PCMU,))
            )
            self.former.append(lost)
            await self.resume(self.workers[second])

        self.runner.run(both())

    @rule()
    @precondition(lambda self: self.caller is not None)
    def lose_the_connection(self) -> None:
        async def lose() -> None:
            if self.caller is not None:
                self.caller.hang_up("gone")
                self.caller, self.is_ready = None, False
            await self.run_loop()

        self.runner.run(lose())

    @rule(worker=st.integers(0, WORKERS - 1))
    def crash(self, worker: int) -> None:
        """The process is gone: its callers hear nothing, its memory is lost, its tasks do not run on."""

        async def crash() -> None:
            for task in list(self.workers[worker]._tasks):
                task.cancel()
            for live in list(self.workers[worker]._live.values()):
                live._owner = CrashedManager()
                live.fence()
                connection: ClientConnection = live._attachment.connection
                if self.caller is not None and connection.transport is self.caller._transport:
                    self.caller, self.is_ready = None, False
                connection.set_handler(None)
            self.workers[worker] = self.new_worker()
            await self.run_loop()

        self.runner.run(crash())

    @rule(sequence=st.integers(0, 30))
    @precondition(lambda self: bool(self.former))
    def late_frame_of_an_old_connection(self, sequence: int) -> None:
        async def late() -> None:
            for caller in self.former:
                carried = self.carried.get(id(caller), ())
                if carried:
                    caller.send_audio(frame(carried[sequence % len(carried)]))
            await self.run_loop()

        self.runner.run(late())

    @rule(is_away=st.booleans())
    def the_store_goes_or_comes(self, is_away: bool) -> None:
        self.store.is_away = is_away

    @invariant()
    def only_the_owner_writes(self) -> None:
        assert not self.store.breaches

    @invariant()
    def what_is_saved_is_whole(self) -> None:
        entry = self.store._entries.get("s-0")
        if entry is not None and entry.record is not None:
            saved = list(entry.record.state.get("frames", []))
            assert saved == list(range(len(saved)))
            assert self.acked <= len(saved), "a frame was acknowledged that is not saved"


def frame(sequence: int) -> AudioFrame:
    return AudioFrame(sequence, sequence * 960, Codec.PCMU, bytes([sequence % 256]) * 160)


Ownership.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestOwnership = Ownership.TestCase
