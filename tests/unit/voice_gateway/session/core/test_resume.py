"""A session whose connection is lost, and whose caller comes back here or elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.voice_gateway.session.sessions import AUDIO
from voice_gateway.agent.base import (
    FinalTranscript,
    Finished,
    NoSpeechUpTo,
    Reply,
    ReplyAudio,
    ReplyEnded,
    StateChanged,
    UserStartedSpeaking,
)
from voice_gateway.session.core.effects import (
    Close,
    EndSpeech,
    Finish,
    Greet,
    ResumeConversation,
    Save,
    SayAgain,
    Send,
    Speak,
    StartConversation,
)
from voice_gateway.session.core.lifecycle.agreement import Agreement
from voice_gateway.session.core.lifecycle.state import SessionState
from voice_gateway.session.core.session import Session
from voice_gateway.session.core.session_limits import Identity, SessionLimits
from voice_gateway.store.base import Line, SessionRecord
from voicelink.wire import (
    AudioFrame,
    Bye,
    CloseCode,
    Codec,
    Drain,
    Error,
    Heard,
    Ping,
    Played,
    Ready,
    Resume,
    Speech,
    State,
    Transcript,
)

IDENTITY = Identity("s-1", "worker-1", "order", AUDIO)
LIMITS = SessionLimits(resume_window_s=60.0)
AGREED = Agreement(Codec.OPUS)
ONE_SECOND = bytes(48_000)
RECORD = SessionRecord("s-1", 7, 120, 1, (Line(1, "user", "a latte"),), {"items": ["latte"]}, 2, "worker-1", 3)


def frame(sequence: int) -> AudioFrame:
    return AudioFrame(sequence, sequence * 960, Codec.OPUS, b"\x01")


def back(**changes: Any) -> Resume:
    return Resume(**{"session": "s-1", "token": "first", "accept": (Codec.OPUS,), **changes})


def sent(effects, kind: type) -> list:
    return [effect.message for effect in effects if isinstance(effect, Send) and isinstance(effect.message, kind)]


def of(effects, kind: type) -> list:
    return [effect for effect in effects if isinstance(effect, kind)]


@pytest.fixture
def session() -> Session:
    """A session that has ten frames, and whose start is saved."""
    session = Session(IDENTITY, LIMITS, 0.0, token="first")
    effects = session.start(AGREED, 0.1)
    assert sent(effects, Ready)[0].token == "first"
    assert of(effects, StartConversation)
    (save,) = of(effects, Save)
    session.saved(save.record.revision, 0.1)
    for sequence in range(10):
        session.audio_received(frame(sequence), 0.2)
    return session


class TestDetached:
    def test_a_lost_connection_keeps_the_session_for_the_window(self, session):
        assert session.lost("timed out", 1.0) == ()
        assert session.state is SessionState.DETACHED
        assert session.deadline == 61.0
        assert of(session.tick(61.0), Close) == [Close(CloseCode.IDLE, "the caller did not come back")]

    def test_a_caller_that_closed_the_session_ends_it(self, session):
        assert of(session.left("closed by the caller"), Close)

    def test_without_a_token_a_lost_connection_ends_the_session(self):
        session = Session(IDENTITY, LIMITS, 0.0)
        session.start(AGREED, 0.1)
        assert of(session.lost("gone", 1.0), Close)

    def test_the_agent_goes_on_but_speaks_to_nobody(self, session):
        session.lost("gone", 1.0)
        effects = [*session.agent_emitted(FinalTranscript("a latte", 9, {"items": 1}), 1.1)]
        effects += session.agent_emitted(Reply("One latte."), 1.1)
        assert of(effects, Save)
        assert session.agent_emitted(ReplyAudio(ONE_SECOND), 1.2) == ()


class TestResume:
    def test_goes_on_with_the_first_frame_that_did_not_arrive(self, session):
        session.lost("gone", 1.0)
        effects = session.resume(AGREED, back(), "second", 2.0)
        (ready,) = sent(effects, Ready)
        assert (ready.next_sequence, ready.token, ready.codec) == (10, "second", Codec.OPUS)
        assert of(effects, ResumeConversation) == [ResumeConversation(Codec.OPUS, {})]
        assert not of(effects, Greet)
        assert session.state is SessionState.ACTIVE
        assert session.audio_received(frame(9), 2.1) == ()
        assert session.audio_received(frame(10), 2.1)

    def test_goes_on_with_what_was_not_played_and_is_still_being_made(self, session):
        session.agent_emitted(Reply("One. Two."), 0.5)
        session.agent_emitted(ReplyAudio(ONE_SECOND), 0.5)
        session.lost("gone", 1.0)
        assert session.agent_emitted(ReplyAudio(ONE_SECOND), 1.5) == ()
        effects = session.resume(AGREED, back(utterance_id=1, next_utterance_id=1, position_ms=600), "second", 2.0)
        assert not of(effects, SayAgain)
        assert sent(effects, Speech) == [Speech(utterance_id=2, turn=0, is_again=True)]
        assert of(effects, Speak) == [Speak(2, bytes(int(1.4 * 48_000)))]
        assert of(session.agent_emitted(ReplyAudio(b"more"), 2.1), Speak) == [Speak(2, b"more")]
        assert of(session.agent_emitted(ReplyEnded(), 2.2), EndSpeech) == [EndSpeech(2)]
        (line,) = session.tracker.record().transcript
        assert (line.text, line.utterance_id, line.skipped_ms) == ("One. Two.", 2, 600)

    def test_goes_on_with_each_answer_that_was_made_meanwhile(self, session):
        session.lost("gone", 1.0)
        for text in ("One.", "Two."):
            session.agent_emitted(Reply(text), 1.1)
            session.agent_emitted(ReplyAudio(ONE_SECOND), 1.1)
            session.agent_emitted(ReplyEnded(), 1.1)
        effects = session.resume(AGREED, back(), "second", 2.0)
        assert [each.utterance_id for each in sent(effects, Speech)] == [3, 4]
        assert of(effects, Speak) == [Speak(3, ONE_SECOND), Speak(4, ONE_SECOND)]
        assert of(effects, EndSpeech) == [EndSpeech(3), EndSpeech(4)]

    def test_says_again_what_was_not_played_and_made_at_another_worker(self, session):
        session.agent_emitted(Reply("One. Two."), 0.5)
        session = Session(IDENTITY, LIMITS, 0.0, record=session.tracker.record())
        effects = session.resume(AGREED, back(utterance_id=1, next_utterance_id=1, position_ms=600), "second", 2.0)
        assert of(effects, SayAgain) == [SayAgain("One. Two.")]
        assert sent(session.agent_emitted(Reply("One. Two."), 2.0), Speech) == [
            Speech(utterance_id=2, turn=0, is_again=True)
        ]
        (speak,) = of(session.agent_emitted(ReplyAudio(ONE_SECOND), 2.0), Speak)
        assert len(speak.pcm) == 0.4 * 48_000
        assert [line.text for line in session.tracker.record().transcript] == ["One. Two."]

    def test_says_it_again_from_where_it_was_cut_off_a_second_time(self, session):
        session.agent_emitted(Reply("One. Two."), 0.5)
        session = Session(IDENTITY, LIMITS, 0.0, record=session.tracker.record())
        session.resume(AGREED, back(utterance_id=1, next_utterance_id=1, position_ms=300), "second", 2.0)
        session.agent_emitted(Reply("One. Two."), 2.0)
        session = Session(IDENTITY, LIMITS, 2.5, record=session.tracker.record())
        session.resume(AGREED, back(token="second", utterance_id=2, next_utterance_id=2, position_ms=300), "third", 3.0)
        session.agent_emitted(Reply("One. Two."), 3.0)
        (speak,) = of(session.agent_emitted(ReplyAudio(ONE_SECOND), 3.0), Speak)
        assert len(speak.pcm) == 0.4 * 48_000

    def test_goes_on_from_where_it_was_cut_off_a_second_time(self, session):
        session.agent_emitted(Reply("One. Two."), 0.5)
        session.agent_emitted(ReplyAudio(ONE_SECOND), 0.5)
        session.lost("gone", 1.0)
        session.resume(AGREED, back(utterance_id=1, next_utterance_id=1, position_ms=300), "second", 2.0)
        session.lost("gone", 2.5)
        again = back(token="second", utterance_id=2, next_utterance_id=2, position_ms=300)
        (speak,) = of(session.resume(AGREED, again, "third", 3.0), Speak)
        assert len(speak.pcm) == 0.4 * 48_000

    def test_says_nothing_again_that_was_played_or_interrupted(self, session):
        session.agent_emitted(Reply("One."), 0.5)
        session.agent_emitted(ReplyEnded(), 0.5)
        session.message_received(Played(utterance_id=1, position_ms=0, is_complete=True), 0.6)
        session.agent_emitted(Reply("Two."), 0.7)
        session.agent_emitted(UserStartedSpeaking(9), 0.8)
        session.lost("gone", 1.0)
        assert not of(session.resume(AGREED, back(utterance_id=2, next_utterance_id=3), "second", 2.0), SayAgain)

    def test_numbers_new_answers_behind_all_that_the_caller_knows(self):
        session = Session(IDENTITY, LIMITS, 0.0, record=RECORD)
        session.resume(AGREED, back(utterance_id=9, next_utterance_id=10), "second", 1.0)
        assert sent(session.agent_emitted(Reply("Hi."), 1.1), Speech)[0].utterance_id == 10

    def test_what_a_caller_claims_to_know_does_not_exhaust_the_numbers(self):
        session = Session(IDENTITY, LIMITS, 0.0, record=RECORD)
        session.resume(AGREED, back(utterance_id=2**62 - 1, next_utterance_id=2**62 - 1), "second", 1.0)
        assert sent(session.agent_emitted(Reply("Hi."), 1.1), Speech)[0].utterance_id < 2**20

    def test_positions_that_were_never_reached_do_not_add_up(self, session):
        session.agent_emitted(Reply("One."), 0.5)
        for number in range(1, 8):
            session.lost("gone", 1.0)
            claim = back(utterance_id=number, next_utterance_id=number, position_ms=2**62 - 1)
            session.resume(AGREED, claim, "next", 2.0)
            session.agent_emitted(Reply("One."), 2.1)
        assert session.tracker.record().transcript[-1].skipped_ms <= 86_400_000

    def test_says_no_more_than_64_answers_again(self, session):
        for number in range(100):
            session.agent_emitted(Reply(f"{number}."), 0.5)
        session.lost("gone", 1.0)
        (again,) = of(session.resume(AGREED, back(), "second", 2.0), SayAgain)
        assert len(again.text.split()) == 64

    def test_renews_the_token_and_keeps_the_used_one_until_the_next_message(self, session):
        session.lost("gone", 1.0)
        session.resume(AGREED, back(), "second", 2.0)
        resume_tokens = session.tracker.resume_tokens
        assert resume_tokens.accepts("first")
        assert resume_tokens.accepts("second")
        session.message_received(Ping(id=1), 2.1)
        assert not session.tracker.resume_tokens.accepts("first")
        assert session.tracker.resume_tokens.accepts("second")

    def test_takes_a_bye_that_was_said_before(self, session):
        session.message_received(Bye(frames=12), 0.9)
        session.lost("gone", 1.0)
        session.resume(AGREED, back(), "second", 2.0)
        session.audio_received(frame(10), 2.1)
        session.message_received(Bye(frames=12), 2.2)
        assert session.state is SessionState.FINISHING
        assert session.audio_received(frame(11), 2.3)

    def test_after_bye_says_the_rest_of_the_last_answer_before_the_worker_says_bye(self, session):
        """PROTOCOL section 6: what the caller had not played to its end is said again, after a bye as well."""
        session.message_received(Bye(frames=10), 0.3)
        session.agent_emitted(Reply("Your total is five."), 0.4)
        session.agent_emitted(ReplyAudio(ONE_SECOND), 0.4)
        session.agent_emitted(Finished(), 0.5)
        session.lost("gone", 0.8)
        effects = session.resume(AGREED, back(utterance_id=1, next_utterance_id=1, position_ms=400), "second", 1.0)
        (speak,) = of(effects, Speak)
        assert len(speak.pcm) == 0.6 * 48_000
        session.utterances.sent(2, len(speak.pcm), 1.0)
        session.message_received(Bye(frames=10), 1.1)
        session.agent_emitted(Finished(), 1.3)
        for revision in range(session.tracker.revision + 1):
            session.saved(revision, 1.4)
        assert session.tracker.is_saved
        assert session.state is SessionState.FINISHING
        played = session.message_received(Played(utterance_id=2, position_ms=600, is_complete=True), 2.0)
        assert sent(played, Bye) == [Bye(frames=10)]

    def test_after_bye_tells_the_agent_again_that_no_more_audio_follows(self, session):
        assert of(session.message_received(Bye(frames=10), 0.3), Finish)
        session.agent_emitted(Finished(), 0.4)
        session.lost("gone", 0.8)
        session.resume(AGREED, back(), "second", 1.0)
        assert of(session.message_received(Bye(frames=10), 1.1), Finish)

    def test_an_answer_that_was_cut_off_does_not_delay_the_end_of_a_caller_that_never_reports(self, session):
        session.agent_emitted(Reply("A long one."), 0.5)
        session.agent_emitted(ReplyAudio(ONE_SECOND * 60), 0.5)
        session.lost("gone", 1.0)
        assert session.utterances.speech_until == 0.0

    def test_cannot_follow_start(self, session):
        assert sent(session.message_received(back(), 1.0), Error)[0].code == CloseCode.WRONG_ORDER


class TestFromARecord:
    def test_goes_on_behind_what_was_acked_with_all_that_was_saved(self):
        session = Session(IDENTITY, LIMITS, 0.0, record=RECORD)
        effects = session.resume(AGREED, back(), "second", 1.0)
        assert sent(effects, Ready)[0].next_sequence == 121
        assert sent(effects, Heard) == [Heard(sequence=120)]
        assert sent(effects, Transcript) == [Transcript(turn=1, role="user", text="a latte", is_final=True)]
        assert sent(effects, State)[0].state == {"items": ["latte"]}
        assert of(effects, ResumeConversation) == [ResumeConversation(Codec.OPUS, {"items": ["latte"]})]

    def test_lets_the_agent_speak_where_the_caller_waits_for_an_answer(self):
        assert of(Session(IDENTITY, LIMITS, 0.0, record=RECORD).resume(AGREED, back(), "second", 1.0), Greet)

    def test_is_silent_where_the_last_word_was_the_agent_s(self):
        answered = replace(RECORD, transcript=(*RECORD.transcript, Line(1, "agent", "One latte.", 3)))
        effects = Session(IDENTITY, LIMITS, 0.0, record=answered).resume(
            AGREED, back(utterance_id=3, next_utterance_id=4), "second", 1.0
        )
        assert not of(effects, Greet)
        assert not of(effects, SayAgain)

    def test_lets_go_of_what_another_worker_claimed(self, session):
        assert of(session.fenced(), Close)[0].is_record_kept
        assert session.state is SessionState.CLOSED


class TestDrain:
    def test_waits_for_a_quiet_moment(self, session):
        session.agent_emitted(UserStartedSpeaking(5), 0.5)
        assert session.drain(20.0, 1.0) == ()
        effects = session.agent_emitted(FinalTranscript("a latte", 9, None), 2.0)
        assert not sent(effects, Drain)
        (save,) = of(effects, Save)
        assert sent(session.saved(save.record.revision, 2.1), Drain) == [Drain(deadline_s=18.9)]

    def test_waits_for_the_answer_to_a_pending_turn(self, session):
        effects = session.agent_emitted(FinalTranscript("a latte", 9, None, {"pending": [{"number": 1}]}), 0.5)
        (save,) = of(effects, Save)
        session.saved(save.record.revision, 0.6)
        assert session.drain(20.0, 1.0) == ()
        (save,) = of(session.agent_emitted(StateChanged(private_state={}), 4.0), Save)
        assert sent(session.saved(save.record.revision, 4.1), Drain) == [Drain(deadline_s=16.9)]

    def test_does_not_wait_for_ever(self, session):
        session.agent_emitted(UserStartedSpeaking(5), 0.5)
        session.drain(20.0, 1.0)
        assert session.deadline == 11.0
        assert sent(session.tick(11.0), Drain) == [Drain(deadline_s=10.0)]

    def test_lets_a_caller_that_has_moved_go_and_keeps_its_record(self, session):
        session.drain(20.0, 1.0)
        (close,) = of(session.lost("gone", 2.0), Close)
        assert close.code is CloseCode.DRAINING
        assert close.is_record_kept

    def test_counts_silence_as_quiet(self, session):
        session.agent_emitted(UserStartedSpeaking(5), 0.5)
        session.drain(20.0, 1.0)
        effects = session.agent_emitted(NoSpeechUpTo(9), 2.0)
        for save in of(effects, Save):
            effects = session.saved(save.record.revision, 2.0)
        assert sent(effects, Drain)
