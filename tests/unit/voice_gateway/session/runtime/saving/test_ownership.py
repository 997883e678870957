"""Claims that meet others, against stores that answer at the worst moment."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.unit.voice_gateway.session.fakes import REQUEST, FakeAgent, FakeTransport, run_ready
from voice_gateway.agent.base import FinalTranscript
from voice_gateway.errors import StoreError
from voice_gateway.session.core.record.record_tracker import RecordTracker
from voice_gateway.session.core.record.resume_tokens import ResumeTokens
from voice_gateway.session.core.session_limits import SessionLimits
from voice_gateway.session.manager import SessionManager
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.session.runtime.saving.ownership import Claim, Verdict, claim
from voice_gateway.store.base import SessionRecord
from voice_gateway.store.implementations.memory import MemoryStore
from voicelink.wire import AudioFrame, CloseCode, Codec, Error, Ready, Resume, Start

RECORD = SessionRecord("s-1", 7, 120, 1, (), {}, 1, "w-1", token_hashes=ResumeTokens().renewed("first").hashes)
RESUME = Resume(session="s-1", token="first", accept=(Codec.PCM16_24K,))


class ContestedStore(MemoryStore):
    """Before each of the next `rivals` claims another worker has made one."""

    def __init__(self, rivals: int) -> None:
        super().__init__()
        self.rivals = rivals

    async def claim(self, record: SessionRecord) -> bool:
        if self.rivals:
            self.rivals -= 1
            assert await super().claim(replace(record, owner="rival"))
        return await super().claim(record)


async def contested(rivals: int) -> ContestedStore:
    store = ContestedStore(rivals)
    await store.save(RECORD)
    return store


async def test_a_claim_that_others_overtake_is_made_again() -> None:
    store = await contested(rivals=2)
    claimed = await claim(store, Claim("s-1", "w-2", None, "second", used_token="first"), None)
    assert isinstance(claimed, SessionRecord)
    assert (claimed.owner, claimed.epoch) == ("w-2", 4)
    assert await store.load("s-1") == claimed


async def test_a_claim_that_others_overtake_time_and_again_is_contested() -> None:
    store = await contested(rivals=3)
    assert await claim(store, Claim("s-1", "w-2", None, "second", used_token="first"), None) is Verdict.CONTESTED
    stored = await store.load("s-1")
    assert stored is not None
    assert (stored.owner, stored.epoch) == ("rival", 4)


class AwayStore(MemoryStore):
    """Each operation fails so."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self.failure = failure

    async def claim(self, record: SessionRecord) -> bool:
        raise self.failure

    async def load(self, session_id: str) -> SessionRecord | None:
        raise self.failure


@pytest.mark.parametrize("failure", [StoreError("away"), OSError("refused"), RuntimeError("the driver is confused")])
async def test_while_the_store_is_away_a_live_session_goes_on_and_others_wait(failure: Exception) -> None:
    store = AwayStore(failure)
    tracker = RecordTracker("s-1", 2.0, "w-1", RECORD)
    assert await claim(store, Claim("s-1", "w-1", None, "second", used_token="first"), tracker) is Verdict.HERE_UNSAVED
    assert tracker.ownership.epoch == RECORD.epoch
    assert await claim(store, Claim("s-1", "w-2", None, "second", used_token="first"), None) is Verdict.STORE_AWAY


async def test_a_caller_whose_session_is_contested_is_told_to_ask_again_and_then_has_it() -> None:
    store = await contested(rivals=3)
    tokens = (f"token-{number}" for number in itertools.count())
    ids = (f"new-{number}" for number in itertools.count())
    manager = SessionManager(
        "w-2", FakeAgent(), store, new_id=lambda: next(ids), new_token=lambda: next(tokens), limits=SessionLimits()
    )
    refused = await resumed(manager)
    assert refused.closed == [(CloseCode.OVERLOADED, "the session is just being taken up elsewhere")]
    assert [fault.code for fault in refused.of(Error)] == [CloseCode.OVERLOADED]
    assert manager.count == 0
    assert manager.counters.resumes_refused == 1
    transport = await resumed(manager)
    assert [ready.next_sequence for ready in transport.of(Ready)] == [121]
    assert not transport.closed
    await manager.close()


class LateStore(MemoryStore):
    """A claim is made at once; its answer is held back until `answer` is set, and is `failure` if there is one."""

    def __init__(self, failure: Exception | None) -> None:
        super().__init__()
        self.failure = failure
        self.answer = asyncio.Event()

    async def claim(self, record: SessionRecord) -> bool:
        is_claimed = await super().claim(record)
        await self.answer.wait()
        if self.failure is not None:
            raise self.failure
        return is_claimed


@pytest.mark.parametrize("failure", [None, StoreError("timed out")])
@pytest.mark.parametrize("is_saved_meanwhile", [True, False])
async def test_a_claim_whose_answer_is_late_or_lost_does_not_fence_its_own_session_off(
    failure: Exception | None, is_saved_meanwhile: bool
) -> None:
    store, agent = LateStore(failure), FakeAgent()
    tokens = (f"token-{number}" for number in itertools.count())
    ids = (f"s-{number}" for number in itertools.count(1))
    limits = SessionLimits(save_retry_s=0.0)
    manager = SessionManager(
        "w-1", agent, store, new_id=lambda: next(ids), new_token=lambda: next(tokens), limits=limits
    )
    first, second = FakeTransport(), FakeTransport()
    connection = manager.accept(REQUEST, first)
    assert isinstance(connection, ClientConnection)
    connection.message_received(Start(accept=(Codec.PCM16_24K,)))
    connection.audio_received(AudioFrame(0, 0, Codec.PCM16_16K, bytes(640)))
    await run_ready()
    returning = manager.accept(REQUEST, second)
    assert isinstance(returning, ClientConnection)
    [ready] = first.of(Ready)
    assert ready.token is not None
    returning.message_received(Resume(session="s-1", token=ready.token, accept=(Codec.PCM16_24K,)))
    await run_ready()
    if is_saved_meanwhile:
        agent.conversations[0].emit(FinalTranscript("hi", 0))
        await run_ready()
    store.answer.set()
    await run_ready()
    agent.conversations[0].emit(FinalTranscript("there", 0))
    await run_ready()
    assert second.of(Ready)
    assert second.closed == []
    assert first.closed == [(CloseCode.TAKEN_OVER, "the session goes on over a newer connection")]
    stored = await store.load("s-1")
    assert stored is not None
    assert stored.epoch == 2
    assert stored.transcript[-1].text == "there"
    await manager.close()


async def test_each_change_of_the_owner_is_logged_once_and_without_a_token() -> None:
    store, agent = MemoryStore(), FakeAgent()
    tokens = (f"secret-{number}" for number in itertools.count())
    first = SessionManager("w-1", agent, store, new_id=lambda: "s-1", new_token=lambda: next(tokens))
    second = SessionManager("w-2", agent, store, new_id=lambda: "s-2", new_token=lambda: next(tokens))
    with capture_logs() as logs:
        transport = FakeTransport()
        connection = first.accept(REQUEST, transport)
        assert isinstance(connection, ClientConnection)
        connection.message_received(Start(accept=(Codec.PCM16_24K,)))
        await run_ready()
        for manager, token in ((second, transport.of(Ready)[0].token), (second, "secret-of-another")):
            connection = manager.accept(REQUEST, FakeTransport())
            assert isinstance(connection, ClientConnection)
            connection.message_received(Resume(session="s-1", token=token, accept=(Codec.PCM16_24K,)))
            await run_ready()
        agent.conversations[0].emit(FinalTranscript("private", 0))
        await run_ready()
        await second.close()
        await first.close()
    changes = [
        (log["event"], log.get("epoch"), log.get("source"), log.get("verdict"))
        for log in logs
        if log["event"] in ("session_claimed", "session_not_claimed", "session_fenced", "session_released")
    ]
    assert changes == [
        ("session_claimed", 2, "store", None),
        ("session_not_claimed", None, None, "unknown"),
        ("session_fenced", 1, None, None),
        ("session_released", 1, None, None),
        ("session_released", 2, None, None),
    ]
    assert not any("secret" in str(log) or "private" in str(log) for log in logs)


@pytest.mark.parametrize("rival", ["w-2", "w-1"], ids=["another worker", "its own successor"])
async def test_a_rivals_claim_fences_the_session_off(rival: str) -> None:
    store, agent = MemoryStore(), FakeAgent()
    manager = SessionManager("w-1", agent, store, new_id=lambda: "s-1", new_token=lambda: "token")
    transport = FakeTransport()
    connection = manager.accept(REQUEST, transport)
    assert isinstance(connection, ClientConnection)
    connection.message_received(Start(accept=(Codec.PCM16_24K,)))
    await run_ready()
    mine = await store.load("s-1")
    assert mine is not None
    assert await store.claim(replace(mine, epoch=2, owner=rival))
    agent.conversations[0].emit(FinalTranscript("hi", 0))
    await run_ready()
    assert [code for code, _ in transport.closed] == [CloseCode.TAKEN_OVER]
    assert manager.count == 0
    await manager.close()


async def resumed(manager: SessionManager) -> FakeTransport:
    """A caller that asks for its session, and the answer it got."""
    transport = FakeTransport()
    connection = manager.accept(REQUEST, transport)
    assert isinstance(connection, ClientConnection)
    connection.message_received(RESUME)
    await run_ready()
    return transport
