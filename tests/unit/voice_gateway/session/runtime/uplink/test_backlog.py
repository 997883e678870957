"""What a caller sends at once is decoded in slices: minutes of one caller's audio do not delay another's frame."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.unit.voice_gateway.session.fakes import REQUEST, FakeAgent, FakeConversation, FakeTransport
from voice_gateway.access.limits import AccessLimits
from voice_gateway.access.uplink_limits import MEDIA_BURST_S, MEDIA_CATCH_UP_S, MEDIA_RATE, MediaRateLimiter
from voice_gateway.agent.base import NoSpeechUpTo, Reply, ReplyAudio, UserAudio
from voice_gateway.session.core.effects import Decode, Finish
from voice_gateway.session.core.session_limits import SessionLimits
from voice_gateway.session.manager import SessionManager
from voice_gateway.session.opening.session_admission import Admission
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.session.runtime.uplink.backlog import SHORTEST_S, SLICE_S, Backlog, UplinkScheduler
from voice_gateway.store.implementations.memory import MemoryStore
from voicelink.wire import AudioFrame, Bye, CloseCode, Codec, Dtmf, Ready, Resume, Start

A_SLICE = round(SLICE_S / 0.02)


def frame(sequence: int, timestamp: int | None = None) -> AudioFrame:
    at = sequence * 960 if timestamp is None else timestamp
    return AudioFrame(sequence, at, Codec.PCM16_16K, bytes(640))


def opus(sequence: int, timestamp: int) -> AudioFrame:
    return AudioFrame(sequence, timestamp, Codec.OPUS, b"\x08")


class Worker:
    """A worker of which a test sees which frames each agent conversation has."""

    def __init__(self, name: str, store: MemoryStore, limits: SessionLimits | None = None) -> None:
        ids, tokens = itertools.count(1), itertools.count(1)
        self.agent = FakeAgent()
        self.manager = SessionManager(
            name,
            self.agent,
            store,
            new_id=lambda: f"{name}-{next(ids)}",
            new_token=lambda: f"{name}-t-{next(tokens)}",
            admission=Admission(limits=AccessLimits()),
            limits=limits,
        )

    def enter(self) -> tuple[ClientConnection, FakeTransport]:
        transport = FakeTransport()
        connection = self.manager.accept(REQUEST, transport)
        assert isinstance(connection, ClientConnection)
        return connection, transport

    def call(self) -> tuple[ClientConnection, FakeTransport, FakeConversation]:
        connection, transport = self.enter()
        connection.message_received(Start(accept=(Codec.PCM16_24K,)))
        return connection, transport, self.agent.conversations[-1]


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker("w", MemoryStore())
    yield worker
    await worker.manager.close()


def decoded(conversation: FakeConversation) -> list[int]:
    return [call.sequence for call in conversation.calls if isinstance(call, UserAudio)]


async def until(is_true: Callable[[], object], turns: int = 10_000) -> int:
    for turn in range(turns):
        if is_true():
            return turn
        await asyncio.sleep(0)
    raise AssertionError(f"not within {turns} turns of the loop")


async def test_a_frame_that_comes_alone_is_decoded_at_once(worker: Worker) -> None:
    connection, _, conversation = worker.call()
    for sequence in range(3):
        connection.audio_received(frame(sequence))
        assert decoded(conversation)[-1] == sequence
        await asyncio.sleep(0)


async def test_one_turn_of_the_loop_hears_a_slice_of_audio(worker: Worker) -> None:
    connection, _, conversation = worker.call()
    for sequence in range(10 * A_SLICE):
        connection.audio_received(frame(sequence))
    turns = [len(decoded(conversation))]
    while turns[-1] < 10 * A_SLICE:
        await asyncio.sleep(0)
        turns.append(len(decoded(conversation)))
    assert all(later - earlier <= A_SLICE + 1 for earlier, later in itertools.pairwise([0, *turns]))
    assert decoded(conversation) == list(range(10 * A_SLICE))


async def test_a_gap_counts_as_the_silence_that_the_agent_hears(worker: Worker) -> None:
    connection, _, conversation = worker.call()
    for sequence in range(20):
        connection.audio_received(opus(sequence, sequence * 96_960))
    assert len(decoded(conversation)) == 2, "20 ms, and 2 s with its gap"
    await asyncio.sleep(0)
    assert len(decoded(conversation)) == 3


async def test_one_caller_s_minutes_hold_another_s_frame_up_for_a_turn_or_two(worker: Worker) -> None:
    connection, _, busy = worker.call()
    other, _, honest = worker.call()
    for sequence in range(2_000):
        connection.audio_received(frame(sequence))
    for sequence in range(30):
        other.audio_received(frame(sequence))
        assert await until(lambda: len(decoded(honest)) == sequence + 1) <= 2  # noqa: B023 - called at once
    assert len(decoded(busy)) < 2_000


async def test_sessions_that_wait_are_served_in_rotation(worker: Worker) -> None:
    calls = [worker.call() for _ in range(4)]
    for connection, _, _ in calls:
        for sequence in range(100):
            connection.audio_received(frame(sequence))
    while len(decoded(calls[0][2])) < 100:
        counts = [len(decoded(conversation)) for _, _, conversation in calls[1:]]
        assert max(counts) - min(counts) <= 1
        await asyncio.sleep(0)


async def test_the_end_and_keys_keep_their_place_behind_the_audio(worker: Worker) -> None:
    connection, transport, conversation = worker.call()
    pressed: list[Any] = []
    conversation.pressed = lambda digit: pressed.append(  # type: ignore[method-assign]  # noted
        (digit, len(decoded(conversation)))
    )
    for sequence in range(5 * A_SLICE):
        connection.audio_received(frame(sequence))
    connection.message_received(Dtmf(digit="5"))
    connection.message_received(Bye(frames=5 * A_SLICE))
    assert "finish" not in conversation.calls
    await until(lambda: transport.closed)
    assert pressed == [("5", 5 * A_SLICE)]
    assert conversation.calls.index("finish") > conversation.calls.index(UserAudio(5 * A_SLICE - 1, bytes(640)))
    assert transport.messages[-1] == Bye(frames=5 * A_SLICE)


async def test_a_caller_that_resumes_elsewhere_may_send_12000_frames_at_once() -> None:
    """Four minutes that were not acked, in batches that yield: nothing is lost, and no session is behind."""
    store = MemoryStore()
    first, second = Worker("one", store), Worker("two", store)
    _, transport, _ = first.call()
    ready = transport.of(Ready)[0]
    await until(lambda: first.manager.unsaved_count == 0)
    connection, transport = second.enter()
    connection.message_received(Resume(session=ready.session, token=ready.token, accept=(Codec.PCM16_24K,)))
    await until(lambda: transport.of(Ready))
    conversation = second.agent.conversations[-1]
    conversation.on_hear = lambda audio: conversation.emit(NoSpeechUpTo(audio.sequence))
    for sequence in range(12_000):
        connection.audio_received(frame(sequence))
    assert len(decoded(conversation)) <= A_SLICE + 1
    await until(lambda: len(decoded(conversation)) == 12_000)
    assert decoded(conversation) == list(range(12_000))
    assert transport.closed == []
    for worker in (first, second):
        await worker.manager.close()


async def test_an_agent_is_behind_only_with_what_reached_it() -> None:
    worker = Worker("w", MemoryStore(), SessionLimits(unacked_frames=50))
    connection, transport, conversation = worker.call()
    conversation.on_hear = lambda audio: conversation.emit(NoSpeechUpTo(audio.sequence))
    for sequence in range(60):
        connection.audio_received(frame(sequence))
    await until(lambda: len(decoded(conversation)) == 60)
    assert transport.closed == []
    await worker.manager.close()


async def test_bytes_that_wait_are_bounded() -> None:
    worker = Worker("w", MemoryStore(), SessionLimits(waiting_bytes=64_000))
    connection, transport, _ = worker.call()
    for sequence in range(A_SLICE + 100):
        connection.audio_received(frame(sequence))
        assert transport.closed == []
    connection.audio_received(frame(A_SLICE + 100))
    assert transport.closed == [(CloseCode.OVERLOADED, "more audio arrives than can wait to be decoded")]
    await worker.manager.close()


async def test_what_waits_is_forgotten_with_its_session(worker: Worker) -> None:
    connection, _, conversation = worker.call()
    for sequence in range(100):
        connection.audio_received(frame(sequence))
    connection.left("bye")
    before = len(decoded(conversation))
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(decoded(conversation)) == before
    assert not worker.manager._services.uplinks._waiting


@pytest.mark.usefixtures("standing_clock")
async def test_more_media_time_than_passes_ends_the_session(worker: Worker) -> None:
    """A gap of 2 s in each frame's timestamp is 2 s of audio: 120 s may come at once."""
    connection, transport, conversation = worker.call()
    for sequence in range(1_000):
        connection.audio_received(opus(sequence, sequence * 96_960))
    await until(lambda: transport.closed)
    assert transport.closed == [(CloseCode.OVERLOADED, "more audio arrives than time passes")]
    assert len(decoded(conversation)) == pytest.approx(MEDIA_BURST_S / 2.02, abs=1)
    assert worker.manager.counters.limited == {"session_media": 1}


class TestMediaTime:
    def test_a_new_session_may_bring_120_s_at_once(self) -> None:
        media = MediaRateLimiter(0.0, has_resumed=False)
        assert media.take(MEDIA_BURST_S, 0.0) is None
        assert media.take(0.02, 0.0) is not None

    def test_a_resumed_one_may_bring_300_s_at_once(self) -> None:
        media = MediaRateLimiter(0.0, has_resumed=True)
        assert media.take(MEDIA_CATCH_UP_S, 0.0) is None
        assert media.take(0.02, 0.0) is not None

    def test_real_time_is_never_too_much(self) -> None:
        media = MediaRateLimiter(0.0, has_resumed=False)
        assert not any(media.take(0.02, number * 0.02) for number in range(200_000))

    def test_an_outage_is_made_up_for_at_once(self) -> None:
        media = MediaRateLimiter(0.0, has_resumed=False)
        assert not any(media.take(0.02, number * 0.02) for number in range(6_000))
        assert media.take(90.0, 210.0) is None

    def test_what_was_not_used_is_not_saved_up_beyond_300_s(self) -> None:
        media = MediaRateLimiter(0.0, has_resumed=False)
        assert media.take(MEDIA_CATCH_UP_S, 86_400.0) is None
        assert media.take(1.0, 86_400.0) is not None
        assert media.take(MEDIA_RATE, 86_401.1) is None


async def test_frames_of_no_length_cost_as_much_as_10_ms() -> None:
    scheduler = UplinkScheduler()
    done: list[Any] = []
    backlog = Backlog(scheduler, done.append, 1_000)
    for number in range(1_000):
        effect = Decode(AudioFrame(number, 0, Codec.PCMU, b""))
        if backlog.is_due(effect):
            done.append(effect)
        scheduler.spent(0.0)
    assert len(done) == round(SLICE_S / SHORTEST_S)
    assert backlog.is_due(Finish()) is False


async def test_one_caller_s_keys_and_messages_hold_another_s_frame_up_for_a_turn_or_two(worker: Worker) -> None:
    connection, _, busy = worker.call()
    other, _, honest = worker.call()
    pressed: list[str] = []
    busy.pressed = pressed.append  # type: ignore[assignment,method-assign]  # `digit` by position
    for sequence in range(2 * A_SLICE):
        connection.audio_received(frame(sequence))
    for _ in range(2_000):
        connection.message_received(Dtmf(digit="5"))
    for sequence in range(30):
        before = len(pressed)
        other.audio_received(frame(sequence))
        assert await until(lambda: len(decoded(honest)) == sequence + 1) <= 2  # noqa: B023 - called at once
        assert len(pressed) - before <= 3 * SLICE_S / SHORTEST_S
    assert len(pressed) < 2_000


async def test_keys_that_wait_are_bounded() -> None:
    worker = Worker("w", MemoryStore(), SessionLimits(waiting_bytes=64_000))
    connection, transport, _ = worker.call()
    for sequence in range(A_SLICE + 1):
        connection.audio_received(frame(sequence))
    for _ in range(1_000):
        connection.message_received(Dtmf(digit="5"))
    assert transport.closed == [(CloseCode.OVERLOADED, "more audio arrives than can wait to be decoded")]
    await worker.manager.close()


async def test_an_agent_that_says_more_and_more_without_end_ends_its_session(worker: Worker) -> None:
    _, transport, conversation = worker.call()
    conversation.emit(Reply("la"))
    minutes = 0
    while not transport.closed and minutes < 60:
        conversation.emit(ReplyAudio(bytes(60 * 48_000)))
        minutes += 1
    assert transport.closed == [(CloseCode.AGENT_FAILED, "the agent has said more than 1800 s that wait to be played")]
    assert minutes == 31
