"""Telephone calls that come back, by nothing but their key."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.voice_gateway.session.fakes import REQUEST, FakeAgent, FakeConversation, FakeTransport, run_ready
from voice_gateway.access.gate import Gate
from voice_gateway.agent.base import FinalTranscript, NoSpeechUpTo, UserAudio
from voice_gateway.errors import StoreError
from voice_gateway.session.core.session_limits import SessionLimits
from voice_gateway.session.manager import SessionManager
from voice_gateway.session.opening.session_admission import Admission
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.session.runtime.saving import ownership
from voice_gateway.session.runtime.saving.ownership import call_session_id
from voice_gateway.store.implementations.memory import MemoryStore
from voicelink.wire import AudioFrame, CloseCode, Codec, Ready, Resume, Start, State

SIGNED = replace(REQUEST, key="CA1", is_key_signed=True)
ORDER = {"items": ["taro"]}


class RecallingConversation(FakeConversation):
    def greet_again(self) -> None:
        self.calls.append("take up")


class RecallingAgent(FakeAgent):
    kind: type[FakeConversation] = RecallingConversation

    def __init__(self) -> None:
        super().__init__()
        self.states: list[Any] = []

    def converse(self, emit, state):
        self.states.append(state)
        self.conversations.append(self.kind(emit))
        return self.conversations[-1]


class Worker:
    """One worker's sessions; workers share a store."""

    def __init__(self, name: str, store: MemoryStore, gate: Gate | None = None) -> None:
        ids, tokens = ((f"{name}-{kind}{n}" for n in itertools.count()) for kind in "it")
        self.agent = RecallingAgent()
        self.manager = SessionManager(
            name,
            self.agent,
            store,
            new_id=lambda: next(ids),
            new_token=lambda: next(tokens),
            admission=Admission(gate),
            limits=SessionLimits(resume_window_s=60.0),
        )

    async def call(self, request=SIGNED) -> tuple[ClientConnection, FakeTransport]:
        transport = FakeTransport()
        connection = self.manager.accept(request, transport)
        assert isinstance(connection, ClientConnection)
        connection.message_received(Start(accept=(Codec.PCMU,)))
        await run_ready()
        return connection, transport

    @property
    def conversation(self) -> FakeConversation:
        return self.agent.conversations[-1]


def say(connection: ClientConnection, sequence: int) -> None:
    connection.audio_received(AudioFrame(sequence, sequence * 960, Codec.PCMU, bytes(160)))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def workers(store):
    workers = [Worker("worker-1", store), Worker("worker-2", store)]
    yield workers
    for worker in workers:
        await worker.manager.close()


async def ordered(worker: Worker) -> ClientConnection:
    """A call in which one order was understood, up to frame 1, and half of another one was decoded."""
    connection, _ = await worker.call()
    for sequence in range(4):
        say(connection, sequence)
    worker.conversation.emit(FinalTranscript("a taro", 1, ORDER))
    await run_ready()
    return connection


async def test_a_new_call_is_greeted_under_the_name_its_key_gives(workers, store):
    _, transport = await workers[0].call()
    assert transport.of(Ready)[0].session == call_session_id("CA1")
    assert workers[0].conversation.calls == ["greet"]
    assert await store.load(call_session_id("CA1")) is not None


async def test_a_call_goes_on_at_another_worker_from_what_was_understood(workers):
    first, second = workers
    await ordered(first)  # and now this worker is gone without a word
    connection, transport = await second.call()
    (ready,) = transport.of(Ready)
    assert (ready.session, ready.worker, ready.next_sequence) == (call_session_id("CA1"), "worker-2", 2)
    assert transport.of(State)[0].state == ORDER
    assert second.agent.states == [ORDER]
    assert second.conversation.calls == ["take up"]
    say(connection, 2)
    assert isinstance(second.conversation.calls[-1], UserAudio)


async def test_a_worker_that_lost_the_call_is_fenced_off(workers, store):
    first, second = workers
    await ordered(first)
    await second.call()
    first.conversation.emit(FinalTranscript("late words", 3, {"items": []}))
    await run_ready()
    assert first.manager.count == 0
    assert first.manager.ended()[-1].close_code is CloseCode.TAKEN_OVER
    record = await store.load(call_session_id("CA1"))
    assert (record.state, record.owner, record.epoch) == (ORDER, "worker-2", 2)


async def test_a_call_that_comes_back_to_its_worker_forgets_half_an_utterance_only(workers):
    worker = workers[0]
    connection = await ordered(worker)
    connection.lost("the stream broke")
    _, transport = await worker.call()
    former, current = worker.agent.conversations
    assert former.calls[-1] == "close"
    assert worker.agent.states == [None, ORDER]
    assert current.calls == ["take up"]
    assert transport.of(Ready)[0].next_sequence == 4
    assert worker.manager.count == 1
    assert worker.manager.counters.resumes == 1


async def test_the_newest_stream_has_the_call(workers):
    connection = await ordered(workers[0])
    await workers[0].call()
    assert not connection.is_open
    assert isinstance(connection.transport, FakeTransport)
    assert connection.transport.closed[0][0] is CloseCode.TAKEN_OVER


async def test_an_agent_that_cannot_take_up_greets(workers):
    await ordered(workers[0])
    workers[1].agent.kind = FakeConversation
    await workers[1].call()
    assert workers[1].conversation.calls == ["greet"]


async def test_an_unsigned_key_opens_nothing_where_no_token_is_asked_for(workers):
    await ordered(workers[0])
    _, transport = await workers[1].call(replace(SIGNED, is_key_signed=False))
    assert transport.of(Ready)[0].session != call_session_id("CA1")
    assert workers[1].agent.states == [None]


async def test_a_shared_access_token_vouches_for_a_key(store):
    workers = [Worker(name, store, Gate("sesame")) for name in ("worker-1", "worker-2")]
    request = replace(SIGNED, is_key_signed=False, access_token="sesame")
    for worker in workers:
        await worker.call(request)
    assert workers[1].conversation.calls == ["take up"]
    for worker in workers:
        await worker.manager.close()


async def test_the_name_of_a_calls_session_opens_it_to_no_other_caller(workers):
    await ordered(workers[0])
    transport = FakeTransport()
    connection = workers[1].manager.accept(REQUEST, transport)
    connection.message_received(Resume(session=call_session_id("CA1"), token=""))
    await run_ready()
    assert transport.closed[0][0] is CloseCode.UNKNOWN_SESSION


async def test_a_key_is_used_again_after_its_session_has_ended(workers, store):
    await ordered(workers[0])
    record = await store.load(call_session_id("CA1"))
    await store.delete(record.session_id, record.epoch)
    _, transport = await workers[1].call()
    assert workers[1].conversation.calls == ["greet"]
    workers[1].conversation.emit(FinalTranscript("a matcha", 0, {"items": ["matcha"]}))
    workers[1].conversation.emit(NoSpeechUpTo(0))
    await run_ready()
    assert transport.closed == []
    assert (await store.load(call_session_id("CA1"))).state == {"items": ["matcha"]}


@pytest.mark.parametrize("error", [StoreError("away"), OSError("refused"), RuntimeError("the driver is confused")])
async def test_a_call_begins_anew_while_the_store_is_away(workers, store, monkeypatch, error):
    async def away(session_id):
        raise error

    monkeypatch.setattr(store, "load", away)
    _, transport = await workers[0].call()
    assert workers[0].conversation.calls == ["greet"]
    assert transport.of(Ready)[0].session != call_session_id("CA1")


async def test_a_call_begins_anew_when_the_store_says_nothing_in_time(workers, store, monkeypatch):
    async def silent(session_id):
        await asyncio.Event().wait()

    monkeypatch.setattr(ownership, "CALL_LOOKUP_TIMEOUT_S", 0.0)
    monkeypatch.setattr(store, "load", silent)
    _, transport = await workers[0].call()
    assert workers[0].conversation.calls == ["greet"]
    assert transport.of(Ready)[0].session != call_session_id("CA1")


async def test_a_stream_that_ends_while_its_session_is_looked_for_leaves_nothing_behind(workers):
    transport = FakeTransport()
    connection = workers[0].manager.accept(SIGNED, transport)
    connection.message_received(Start(accept=(Codec.PCMU,)))
    connection.lost("gone")
    await run_ready()
    assert workers[0].manager.count == 0


async def test_what_comes_before_the_session_is_ready_ends_the_connection(workers):
    connection = workers[0].manager.accept(SIGNED, FakeTransport())
    say(connection, 0)
    assert isinstance(connection.transport, FakeTransport)
    assert connection.transport.closed[0][0] is CloseCode.WRONG_ORDER
