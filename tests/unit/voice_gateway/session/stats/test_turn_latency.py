"""Where the time of a turn goes, on the worker's clock and on the caller's."""

from __future__ import annotations

import pytest

from tests.unit.voice_gateway.session.sessions import AUDIO, start
from voice_gateway.agent.base import (
    AgentEvent,
    FinalTranscript,
    Reply,
    ReplyAudio,
    ReplyEnded,
    UserStartedSpeaking,
    UserStoppedSpeaking,
)
from voice_gateway.session.core.effects import Send
from voice_gateway.session.core.lifecycle.agreement import Agreement
from voice_gateway.session.core.session import Session
from voice_gateway.session.core.session_limits import Identity, SessionLimits
from voice_gateway.session.stats.turn_latency import Figure
from voicelink.wire import AudioFrame, Codec, Flush, Latency, Measured, Resume

PIECE = bytes(4_800)


class Talk:
    """A session whose caller speaks frames 0 to 49, of which 40 came 25 ms late, into an agent that the test plays."""

    def __init__(self) -> None:
        self.observed: list[tuple[Figure, float]] = []
        identity = Identity("s-1", "worker-1", "order", AUDIO)
        self.session = Session(
            identity,
            SessionLimits(),
            0.0,
            token="first",
            observe=lambda figure, value_s: self.observed.append((figure, value_s)),
        )
        start(self.session, 0.0)
        for sequence in range(50):
            self.arrive(sequence, 0.025 if sequence == 40 else 0.0)

    def arrive(self, sequence: int, late_s: float = 0.0) -> None:
        frame = AudioFrame(sequence, sequence * 960, Codec.PCMU, b"\xff" * 160)
        self.session.audio_received(frame, 1.0 + sequence * 0.02 + late_s)

    def emit(self, event: AgentEvent, now: float) -> list[object]:
        return [effect.message for effect in self.session.agent_emitted(event, now) if isinstance(effect, Send)]

    def latencies(self, event: AgentEvent, now: float) -> list[Latency]:
        return [message for message in self.emit(event, now) if isinstance(message, Latency)]


@pytest.fixture
def talk() -> Talk:
    return Talk()


def answered(talk: Talk) -> Latency:
    talk.emit(UserStoppedSpeaking(40), 2.475)
    talk.emit(FinalTranscript("taro", 49, None), 2.5)
    talk.emit(Reply("One taro."), 2.51)
    (latency,) = talk.latencies(ReplyAudio(PIECE), 2.56)
    return latency


def test_each_part_of_a_turn_follows_the_one_before(talk: Talk) -> None:
    assert answered(talk) == Latency(
        turn=1, utterance_id=1, sequence=40, uplink_ms=25.0, endpointing_ms=650.0, stt_ms=25.0, llm_ms=10.0, tts_ms=50.0
    )
    assert talk.latencies(ReplyAudio(PIECE), 2.6) == []
    talk.emit(ReplyEnded(), 2.66)
    assert dict(talk.observed) == pytest.approx(
        {
            Figure.ENDPOINTING: 0.65,
            Figure.STT_TTFB: 0.025,
            Figure.LLM_TTFB: 0.01,
            Figure.TTS_TTFB: 0.05,
            Figure.TTS_PROCESSING: 0.15,
        }
    )


def test_a_greeting_is_no_turn(talk: Talk) -> None:
    talk.emit(Reply("Hello."), 0.1)
    assert talk.latencies(ReplyAudio(PIECE), 0.2) == []
    assert dict(talk.observed) == pytest.approx({Figure.TTS_TTFB: 0.1})


def test_an_agent_that_does_not_say_when_a_turn_ended_leaves_two_parts_out(talk: Talk) -> None:
    talk.emit(FinalTranscript("taro", 49, None), 2.5)
    talk.emit(Reply("One taro."), 2.75)
    assert talk.latencies(ReplyAudio(PIECE), 2.8) == [Latency(turn=1, utterance_id=1, llm_ms=250.0, tts_ms=50.0)]


def test_of_two_turns_answered_at_once_the_later_counts(talk: Talk) -> None:
    talk.emit(UserStoppedSpeaking(20), 1.9)
    talk.emit(UserStoppedSpeaking(45), 2.5)
    talk.emit(FinalTranscript("large", 30, None), 2.6)
    talk.emit(FinalTranscript("taro", 49, None), 2.7)
    talk.emit(Reply("One large taro."), 2.7)
    (latency,) = talk.latencies(ReplyAudio(PIECE), 2.7)
    assert (latency.turn, latency.sequence, latency.stt_ms, latency.llm_ms) == (2, 45, 200.0, 0.0)


def test_a_turn_without_words_does_not_shift_the_others(talk: Talk) -> None:
    talk.emit(UserStoppedSpeaking(20), 1.9)
    talk.emit(UserStoppedSpeaking(45), 2.5)
    talk.emit(FinalTranscript("taro", 49, None), 2.6)
    talk.emit(Reply("One taro."), 2.6)
    assert talk.latencies(ReplyAudio(PIECE), 2.6)[0].stt_ms == 100.0


def test_an_interruption_is_named_by_its_first_frame_with_voice(talk: Talk) -> None:
    answered(talk)
    for sequence in range(50, 100):
        talk.arrive(sequence)
    assert talk.emit(UserStartedSpeaking(75, onset=90), 2.92) == [Flush(utterance_id=1, sequence=90)]
    assert dict(talk.observed)[Figure.INTERRUPTION] == pytest.approx(0.12)


def test_what_the_caller_measured_is_kept_with_its_turn(talk: Talk) -> None:
    answered(talk)
    talk.session.message_received(Measured(turn=1, response_ms=812.0, uplink_age_ms=41.0, playout_ms=20.0), 3.0)
    talk.session.message_received(Measured(turn=1, barge_in_ms=300.0), 3.1)
    talk.session.lost("gone", 3.1)
    talk.session.resume(Agreement(Codec.OPUS), Resume(session="s-1", token="first"), "second", 3.15)
    talk.session.message_received(Measured(turn=1, resume_gap_ms=1_500.0, frames_replayed=70), 3.2)
    (turn,) = talk.session.turns.latencies.recent()
    assert turn.as_json() == {
        "turn": 1,
        "utterance_id": 1,
        "generation": 1,
        "frames_replayed": 70,
        "was_interrupted": False,
        "endpointing_ms": 650.0,
        "stt_ttfb_ms": 25.0,
        "llm_ttfb_ms": 10.0,
        "tts_ttfb_ms": 50.0,
        "user_bot_latency_ms": 812.0,
        "uplink_age_ms": 41.0,
        "playout_ms": 20.0,
        "barge_in_ms": 300.0,
        "resume_gap_ms": 1_500.0,
    }
    assert dict(talk.observed)[Figure.USER_BOT_LATENCY] == pytest.approx(0.812)


def test_a_turn_that_was_not_yet_cannot_be_measured(talk: Talk) -> None:
    talk.session.message_received(Measured(turn=7, response_ms=1.0), 3.0)
    assert talk.session.turns.latencies.recent() == ()
    assert talk.observed == []


def test_only_the_last_turns_are_kept(talk: Talk) -> None:
    for turn in range(1, 41):
        talk.emit(FinalTranscript(str(turn), 49, None), 3.0 + turn)
    assert [each.turn for each in talk.session.turns.latencies.recent()] == list(range(9, 41))


def test_a_move_is_charged_with_the_gap_it_made(talk: Talk) -> None:
    talk.arrive(50, 0.3)
    assert talk.session.turns.latencies.migrated(0, 2.35) == pytest.approx(0.32)
    assert dict(talk.observed)[Figure.MIGRATION_GAP] == pytest.approx(0.32)


class TestReports:
    """What a caller reports is believed as far as the worker knows that it can be."""

    def test_frames_replayed_are_at_most_what_a_caller_may_keep_for_each_resume(self, talk: Talk) -> None:
        answered(talk)
        session, most = talk.session, SessionLimits().unacked_frames
        session.message_received(Measured(turn=1, frames_replayed=2**62 - 1), 3.0)
        assert session.frames_replayed == 0, "there was no resume"
        for number in (1, 2):
            session.lost("gone", 3.0)
            session.resume(Agreement(Codec.OPUS), Resume(session="s-1", token="first"), "second", 3.1)
            session.message_received(Measured(turn=1, frames_replayed=2**62 - 1), 3.2)
            session.message_received(Measured(turn=1, frames_replayed=2**62 - 1), 3.3)
            assert session.frames_replayed == number * most
        assert session.turns.latencies.recent()[-1].frames_replayed == 2 * most

    def test_no_figure_is_longer_than_the_session_and_a_resume_window(self, talk: Talk) -> None:
        answered(talk)
        longest_ms = (10.0 + SessionLimits().resume_window_s) * 1000
        talk.session.message_received(Measured(turn=1, response_ms=longest_ms + 1), 10.0)
        assert Figure.USER_BOT_LATENCY not in dict(talk.observed)
        talk.session.message_received(Measured(turn=1, response_ms=longest_ms), 10.0)
        assert dict(talk.observed)[Figure.USER_BOT_LATENCY] == longest_ms / 1000

    def test_a_turn_that_is_not_kept_takes_no_other_s_place(self, talk: Talk) -> None:
        for _ in range(40):
            talk.emit(FinalTranscript("taro", 49, None), 2.5)
        before = talk.session.turns.latencies.recent()
        for turn in (0, 8, 41, 2**62 - 1):
            talk.session.message_received(Measured(turn=turn, barge_in_ms=1.0), 3.0)
        assert talk.session.turns.latencies.recent() == before
        assert Figure.BARGE_IN not in dict(talk.observed)

    def test_timestamps_that_go_back_give_no_figure_beyond_the_protocol_s(self, talk: Talk) -> None:
        talk.session.audio_received(AudioFrame(50, 2**62 - 1, Codec.PCMU, b"\xff"), 2.1)
        talk.session.audio_received(AudioFrame(51, 0, Codec.PCMU, b"\xff"), 2.2)
        arrival = talk.session.uplink.arrivals.of(51)
        assert arrival is not None
        assert arrival.queueing_ms == 3_600_000.0
