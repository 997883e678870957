from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import uvloop
from structlog.testing import capture_logs

from tests.unit.voice_gateway.session.fakes import REQUEST, FakeAgent, FakeTransport, run_ready
from voice_gateway.access.gate import Gate
from voice_gateway.agent.base import (
    FinalTranscript,
    NoSpeechUpTo,
    Reply,
    ReplyAudio,
    ReplyEnded,
    StopReply,
    UserAudio,
    UserStartedSpeaking,
)
from voice_gateway.session.core.session_limits import SessionLimits
from voice_gateway.session.manager import SessionManager
from voice_gateway.session.opening.session_admission import Admission
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.store.base import SessionRecord
from voice_gateway.store.implementations.memory import MemoryStore
from voice_gateway.transport.base import Refusal
from voicelink.wire import (
    AudioFrame,
    Bye,
    CloseCode,
    Codec,
    Drain,
    Dtmf,
    Error,
    Flush,
    Heard,
    Malformed,
    Ready,
    Start,
    Transcript,
)


def frame(sequence: int, codec: Codec = Codec.PCM16_16K) -> AudioFrame:
    return AudioFrame(sequence, sequence * 960, codec, bytes(640))


class Bench:
    """A manager, its agent and store, and one caller after the other."""

    def __init__(self, admission: Admission | None = None, limits: SessionLimits | None = None) -> None:
        ids = (f"s-{n}" for n in itertools.count(1))
        self.agent = FakeAgent()
        self.store = MemoryStore()
        self.manager = SessionManager(
            "worker-1", self.agent, self.store, new_id=lambda: next(ids), admission=admission, limits=limits
        )

    def call(self, accept=(Codec.PCM16_24K,)) -> tuple[ClientConnection, FakeTransport]:
        transport = FakeTransport()
        live = self.manager.accept(REQUEST, transport)
        assert isinstance(live, ClientConnection)
        live.message_received(Start(accept=accept))
        return live, transport

    @property
    def conversation(self):
        return self.agent.conversations[-1]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.manager.close()


async def test_a_call_from_start_to_bye(bench):
    live, transport = bench.call()
    conversation = bench.conversation
    assert transport.of(Ready)[0].session == "s-1"
    live.audio_received(frame(0))
    live.audio_received(frame(1))
    assert conversation.calls == ["greet", UserAudio(0, bytes(640)), UserAudio(1, bytes(640))]
    conversation.emit(FinalTranscript("a latte", 1, {"items": ["latte"]}))
    await run_ready()
    assert transport.of(Heard) == [Heard(sequence=1)]
    assert (await bench.store.load("s-1")).state == {"items": ["latte"]}
    live.message_received(Bye(frames=2))
    await run_ready()
    assert conversation.calls[-2:] == ["finish", "close"]
    assert transport.messages[-1] == Bye(frames=2)
    assert transport.closed == [(CloseCode.NORMAL, "bye")]
    assert bench.manager.count == 0
    assert await bench.store.load("s-1") is None


async def test_speech_goes_out_in_frames_of_its_utterance(bench):
    _live, transport = bench.call()
    bench.conversation.emit(Reply("hello"))
    bench.conversation.emit(ReplyAudio(bytes(48_000)))
    bench.conversation.emit(ReplyEnded())
    for _ in range(10):
        await asyncio.sleep(0)
    assert [utterance_id for utterance_id, _ in transport.audio] == [1] * 50
    assert [frame.sequence for _, frame in transport.audio] == list(range(50))
    assert [frame.timestamp for _, frame in transport.audio] == [960 * n for n in range(50)]
    assert transport.ended == [1]
    assert bench.manager.counters.frames_sent == 50


async def test_long_speech_leaves_the_loop_to_others(bench):
    _live, transport = bench.call()
    bench.conversation.emit(Reply("hello"))
    bench.conversation.emit(ReplyAudio(bytes(48_000 * 10)))
    assert len(transport.audio) <= 10


async def test_barge_in_abandons_what_is_not_encoded(bench):
    _live, transport = bench.call()
    bench.conversation.emit(Reply("hello"))
    bench.conversation.emit(ReplyAudio(bytes(48_000 * 10)))
    bench.conversation.emit(UserStartedSpeaking(0))
    sent = len(transport.audio)
    await run_ready()
    assert len(transport.audio) == sent
    assert transport.reset == [1]
    assert transport.of(Flush) == [Flush(utterance_id=1)]
    assert ("interrupted", 0) in bench.conversation.calls


async def test_an_agent_that_answers_within_hear_is_served_in_order(bench):
    live, transport = bench.call()
    bench.conversation.on_hear = lambda audio: bench.conversation.emit(
        FinalTranscript(f"word {audio.sequence}", audio.sequence)
    )
    for sequence in range(3):
        live.audio_received(frame(sequence))
    assert [message.text for message in transport.of(Transcript)] == ["word 0", "word 1", "word 2"]


async def test_keys_reach_an_agent_that_cares_for_them_and_no_other(bench):
    live, transport = bench.call()
    live.message_received(Dtmf(digit="1"))
    pressed: list[str] = []
    bench.conversation.pressed = pressed.append
    live.message_received(Dtmf(digit="#"))
    assert pressed == ["#"]
    assert transport.closed == []


async def test_an_agent_that_raises_ends_its_own_session_only(bench):
    live, transport = bench.call()
    other, other_transport = bench.call()

    def fail(audio: UserAudio) -> None:
        raise KeyError("what the caller said")

    bench.agent.conversations[0].on_hear = fail
    with capture_logs() as logs:
        live.audio_received(frame(0))
    (failure,) = [log for log in logs if log["event"] == "session_effect_failed"]
    assert failure["error"] == "KeyError"
    assert failure["at"][-1].endswith(" fail")
    assert "what the caller said" not in str(logs)
    assert not failure.get("exc_info")
    assert transport.closed == [(CloseCode.INTERNAL, "the worker failed")]
    other.audio_received(frame(0))
    assert other_transport.closed == []


async def test_audio_that_cannot_be_decoded_ends_the_session(bench):
    live, transport = bench.call()
    live.audio_received(AudioFrame(0, 0, Codec.OPUS, b"\xff\xff\xff"))
    assert transport.closed[0][0] is CloseCode.MALFORMED


async def test_what_a_caller_does_after_the_end_is_ignored(bench):
    live, transport = bench.call()
    live.malformed_received(Malformed("garbage"))
    messages = len(transport.messages)
    live.audio_received(frame(0))
    live.message_received(Start())
    live.lost("gone")
    bench.manager.drain(1.0)
    bench.conversation.emit(Reply("too late"))
    assert len(transport.messages) == messages
    assert len(transport.closed) == 1


class TestAdmission:
    def refusal(self, bench: Bench, **changes: Any) -> Refusal | None:
        answer = bench.manager.accept(replace(REQUEST, **changes), FakeTransport())
        return answer if isinstance(answer, Refusal) else None

    async def test_another_path_is_not_found(self, bench):
        assert self.refusal(bench, path="/v2/voice").status == 404

    @pytest.mark.parametrize("token", [None, "", "wrong", "sesam\ud800", "sésame"])
    async def test_a_wrong_token_is_unauthorised(self, token):
        assert self.refusal(Bench(Admission(Gate("sesame"))), access_token=token).status == 401

    async def test_the_right_token_is_let_in(self):
        bench = Bench(Admission(Gate("sesame")))
        assert self.refusal(bench, access_token="sesame") is None
        await bench.manager.close()

    async def test_pages_of_other_origins_are_forbidden(self):
        bench = Bench(Admission(Gate(origins=frozenset({"https://shop.example"}))))
        assert self.refusal(bench, origin="https://evil.example").status == 403
        assert self.refusal(bench, origin="https://shop.example") is None
        assert self.refusal(bench, origin=None) is None
        await bench.manager.close()

    async def test_a_full_worker_says_so(self):
        bench = Bench(Admission(max_sessions=1))
        live, _ = bench.call()
        _, transport = bench.call()
        assert transport.closed == [(CloseCode.OVERLOADED, "all 1 sessions are taken")]
        assert bench.manager.counters.limited == {"sessions": 1}
        live.lost("gone")
        _, transport = bench.call()
        assert transport.of(Ready)
        await bench.manager.close()

    async def test_refusals_are_counted(self, bench):
        self.refusal(bench, path="/")
        assert bench.manager.counters.refused == {(404, "path"): 1}


class TestStop:
    async def test_drain_tells_callers_and_refuses_new_ones(self, bench):
        live, transport = bench.call()
        bench.manager.drain(20.0)
        assert transport.of(Drain) == [Drain(deadline_s=20.0)]
        assert bench.manager.accept(REQUEST, FakeTransport()).status == 503
        live.message_received(Bye(frames=0))
        assert await bench.manager.wait_empty(10.0)

    async def test_wait_empty_gives_up(self, bench):
        bench.call()
        assert not await bench.manager.wait_empty(0.0)

    async def test_close_ends_what_is_left(self, bench):
        _, transport = bench.call()
        await bench.manager.close()
        assert transport.closed[0][0] is CloseCode.DRAINING
        assert bench.manager.count == 0

    async def test_close_waits_for_the_store(self):
        bench = Bench()
        bench.call()
        bench.conversation.emit(Reply("hello"))
        await bench.manager.close()
        assert await bench.store.load("s-1") is None


class TestStoreFailure:
    async def test_an_ack_comes_once_the_store_is_back(self):
        bench = Bench(limits=SessionLimits(save_retry_s=0.0))
        failures = 3
        is_saved = asyncio.Event()

        async def save(record: SessionRecord) -> None:
            nonlocal failures
            if failures:
                failures -= 1
                raise OSError("connection refused")
            await MemoryStore.save(bench.store, record)
            is_saved.set()

        bench.store.save = save  # type: ignore[method-assign]  # the store is away
        live, transport = bench.call()
        live.audio_received(frame(0))
        bench.conversation.emit(FinalTranscript("hi", 0))
        await asyncio.sleep(0)
        assert bench.manager.counters.is_store_away
        assert bench.manager.unsaved_count == 1
        await asyncio.wait_for(is_saved.wait(), 5.0)
        await run_ready()
        assert bench.manager.counters.save_failures == 3
        assert not bench.manager.counters.is_store_away
        assert transport.of(Heard) == [Heard(sequence=0)]
        await bench.manager.close()

    def test_a_retry_that_is_due_at_once_does_not_end_the_session(self):
        async def retry() -> None:
            bench = Bench(limits=SessionLimits(save_retry_s=0.0))

            async def save(record: SessionRecord) -> None:
                raise OSError("connection refused")

            bench.store.save = save  # type: ignore[method-assign]  # the store is away
            live, transport = bench.call()
            bench.conversation.on_hear = lambda audio: bench.conversation.emit(NoSpeechUpTo(audio.sequence))
            for sequence in range(50):
                bench.conversation.emit(FinalTranscript("hi", sequence))
                live.audio_received(frame(sequence))
                await asyncio.sleep(0)
            assert bench.manager.counters.save_failures
            assert transport.closed == []
            bench.store.save = functools.partial(  # type: ignore[method-assign]  # the store is back
                MemoryStore.save, bench.store
            )
            await bench.manager.close()

        uvloop.run(retry())


class TestSnapshot:
    async def test_shows_figures_and_no_words(self, bench):
        live, _ = bench.call()
        live.audio_received(frame(0))
        live.audio_received(frame(0))
        bench.conversation.emit(FinalTranscript("my secret", 0, {"name": "secret"}))
        live.path_changed("192.0.2.9:6000")
        (snapshot,) = bench.manager.snapshot()
        document = snapshot.as_json()
        assert document["id"] == "s-1"
        assert document["state"] == "active"
        assert document["peer"] == "192.0.2.9:6000"
        assert [migration["peer"] for migration in document["migrations"]] == ["192.0.2.9:6000"]
        assert (document["uplink"]["frames"], document["uplink"]["duplicates"]) == (1, 1)
        assert document["close_code"] is None
        assert "secret" not in repr(document)

    async def test_is_kept_after_the_end(self, bench):
        live, _ = bench.call()
        live.lost("timed out")
        (snapshot,) = bench.manager.ended()
        assert snapshot.as_json()["close_code"] == "normal"
        assert snapshot.close_reason == "the caller left: timed out"

    async def test_counters_follow_the_calls(self, bench):
        live, _ = bench.call()
        for sequence in range(3):
            live.audio_received(frame(sequence))
        bench.conversation.emit(NoSpeechUpTo(2))
        live.lost("gone")
        await run_ready()
        counters = bench.manager.counters
        assert (counters.started, counters.ended, counters.frames_received, counters.saves) == (1, {"normal": 1}, 3, 1)
        assert sum(counters.uplink_gap.counts) == 2


async def test_a_caller_that_never_starts_is_sent_away():
    bench = Bench(limits=SessionLimits(start_timeout_s=0.0))
    transport = FakeTransport()
    bench.manager.accept(REQUEST, transport)
    assert await bench.manager.wait_empty(10.0)
    assert transport.of(Error)[0].code == CloseCode.IDLE


async def test_an_agent_that_stops_its_reply_and_begins_the_next_is_not_told_to_stop_that_one(bench):
    live, transport = bench.call()
    conversation = bench.conversation
    conversation.emit(Reply("welcome"))

    def answer_at_once(audio: UserAudio) -> None:
        for event in (StopReply(), FinalTranscript("tea", audio.sequence), Reply("one tea"), ReplyAudio(bytes(960))):
            conversation.emit(event)

    conversation.on_hear = answer_at_once
    live.audio_received(frame(0))
    await run_ready()
    assert [flush.utterance_id for flush in transport.of(Flush)] == [1]
    assert [utterance_id for utterance_id, _ in transport.audio] == [2]
    assert [call for call in conversation.calls if isinstance(call, tuple)] == []
    conversation.on_hear = lambda audio: conversation.emit(UserStartedSpeaking(audio.sequence))
    live.audio_received(frame(1))
    assert ("interrupted", 0) in conversation.calls
