from __future__ import annotations

import pytest

from tests.unit.voice_gateway.session.sessions import ONE_SECOND, closing, frame, new_session, save
from voice_gateway.agent.base import (
    AgentFailed,
    FinalTranscript,
    NoSpeechUpTo,
    PartialTranscript,
    Reply,
    ReplyAudio,
    ReplyEnded,
    UserStartedSpeaking,
)
from voice_gateway.session.core.effects import (
    BeginUplink,
    Decode,
    EndSpeech,
    Interrupt,
    ResetSpeech,
    Send,
    Speak,
    StartConversation,
)
from voice_gateway.session.core.lifecycle.agreement import Agreement
from voice_gateway.session.core.lifecycle.state import SessionState
from voice_gateway.session.core.session import Session
from voice_gateway.store.base import Line
from voicelink.wire import (
    CloseCode,
    Codec,
    Flush,
    Heard,
    Malformed,
    Played,
    Ready,
    Speech,
    Start,
    State,
    Transcript,
    UplinkMode,
)


class TestStart:
    def test_is_answered_with_ready_and_opens_the_conversation(self):
        session = new_session()
        assert session.start(Agreement(Codec.PCMU), 0.1) == (
            Send(Ready(session="s-1", worker="worker-1", codec=Codec.PCMU)),
            StartConversation(Codec.PCMU),
        )
        assert session.state is SessionState.ACTIVE

    def test_begins_the_uplink_that_was_agreed_before_ready(self):
        effects = new_session().start(Agreement(Codec.PCMU, UplinkMode.HYBRID), 0.1)
        assert effects[0] == BeginUplink(UplinkMode.HYBRID, 0)
        assert effects[1].message.uplink == "hybrid"

    def test_comes_once(self, session):
        assert closing(session.message_received(Start(), 0.1)) is CloseCode.WRONG_ORDER


class TestUplink:
    def test_frames_are_decoded(self, session):
        assert session.audio_received(frame(0), 0.1) == (Decode(frame(0)),)
        assert session.audio_received(frame(1), 0.1) == (Decode(frame(1)),)

    def test_duplicates_are_dropped_and_counted(self, session):
        session.audio_received(frame(0), 0.1)
        assert session.audio_received(frame(0), 0.1) == ()
        assert session.uplink.duplicates == 1

    def test_a_gap_ends_the_session(self, session):
        session.audio_received(frame(0), 0.1)
        assert closing(session.audio_received(frame(2), 0.1)) is CloseCode.WRONG_ORDER

    def test_an_agent_that_does_not_keep_up_ends_the_session(self, session):
        for i in range(10):
            assert session.audio_received(frame(i), 0.1) == (Decode(frame(i)),)
        assert closing(session.audio_received(frame(10), 0.1)) is CloseCode.OVERLOADED

    def test_an_agent_that_keeps_up_does_not(self, session):
        for i in range(100):
            assert session.audio_received(frame(i), 0.1) == (Decode(frame(i)),)
            session.agent_emitted(NoSpeechUpTo(i), 0.1)

    def test_a_malformed_stream_ends_the_session(self, session):
        assert closing(session.malformed_received(Malformed("bad codec"))) is CloseCode.MALFORMED


class TestHeard:
    def test_follows_the_save_of_what_was_understood(self, session):
        for i in range(5):
            session.audio_received(frame(i), 0.1)
        effects = session.agent_emitted(FinalTranscript("a latte", 3, {"items": ["latte"]}), 0.2)
        assert effects[:2] == (
            Send(Transcript(turn=1, role="user", text="a latte", is_final=True)),
            Send(State(revision=1, state={"items": ["latte"]})),
        )
        record = save(effects).record
        assert (record.acked_sequence, record.turn, record.session_id) == (3, 1, "s-1")
        assert session.saved(record.revision, 0.3) == (Send(Heard(sequence=3)),)

    def test_waits_while_saving_fails(self, session):
        session.audio_received(frame(0), 0.1)
        record = save(session.agent_emitted(FinalTranscript("hi", 0), 0.2)).record
        assert session.save_failed(record.revision, 0.3) == ()
        assert session.deadline == pytest.approx(1.3)
        assert session.agent_emitted(FinalTranscript("again", 0), 0.4)[1:] == ()
        retried = save(session.tick(1.3)).record
        assert retried.turn == 2
        assert session.saved(retried.revision, 1.4) == (Send(Heard(sequence=0)),)

    def test_never_names_a_frame_that_did_not_arrive(self, session):
        session.audio_received(frame(0), 0.1)
        assert save(session.agent_emitted(FinalTranscript("hi", 99), 0.2)).record.acked_sequence == 0

    def test_needs_a_frame(self, session):
        record = save(session.agent_emitted(FinalTranscript("hi", 0), 0.2)).record
        assert record.acked_sequence is None
        assert session.saved(record.revision, 0.3) == ()

    def test_follows_silence_now_and_then(self, session):
        acked = []
        for i in range(500):
            now = 0.02 * i
            session.audio_received(frame(i), now)
            for effect in session.agent_emitted(NoSpeechUpTo(i), now):
                acked += session.saved(effect.record.revision, now)
        assert [effect.message.sequence for effect in acked] == [0, 100, 200, 300, 400]


class TestTurns:
    def test_partial_transcripts_belong_to_the_turn_to_come(self, session):
        session.audio_received(frame(0), 0.1)
        assert session.agent_emitted(PartialTranscript("a lat"), 0.1) == (
            Send(Transcript(turn=1, role="user", text="a lat", is_final=False)),
        )
        assert session.agent_emitted(FinalTranscript("a latte", 0), 0.1)[0].message.turn == 1
        assert session.agent_emitted(PartialTranscript("and"), 0.1)[0].message.turn == 2

    def test_a_greeting_is_turn_0_and_utterance_1(self, session):
        assert session.agent_emitted(Reply("Welcome."), 0.1)[:2] == (
            Send(Transcript(turn=0, role="agent", text="Welcome.", is_final=True, utterance_id=1)),
            Send(Speech(utterance_id=1, turn=0)),
        )

    def test_a_reply_is_spoken_in_its_utterance(self, session):
        session.agent_emitted(Reply("Welcome."), 0.1)
        assert session.agent_emitted(ReplyAudio(b"\1\0"), 0.1) == (Speak(1, b"\1\0"),)
        assert session.agent_emitted(ReplyEnded(), 0.1) == (EndSpeech(1),)
        assert session.agent_emitted(ReplyAudio(b"\1\0"), 0.1) == ()
        assert session.agent_emitted(ReplyEnded(), 0.1) == ()

    def test_a_reply_that_follows_another_ends_it(self, session):
        session.agent_emitted(Reply("One."), 0.1)
        effects = session.agent_emitted(Reply("Two."), 0.1)
        assert effects[0] == EndSpeech(1)
        assert Send(Speech(utterance_id=2, turn=0)) in effects

    def test_an_agent_that_failed_ends_the_session(self, session):
        assert closing(session.agent_emitted(AgentFailed("model gone"), 0.1)) is CloseCode.AGENT_FAILED


class TestBargeIn:
    @pytest.fixture
    def speaking(self, session) -> Session:
        session.agent_emitted(Reply("one two three four"), 0.1)
        session.agent_emitted(ReplyAudio(ONE_SECOND), 0.1)
        session.utterances.sent(1, len(ONE_SECOND), 0.1)
        return session

    def test_resets_the_stream_flushes_the_caller_and_tells_the_agent(self, speaking):
        speaking.message_received(Played(utterance_id=1, position_ms=500), 0.6)
        assert speaking.agent_emitted(UserStartedSpeaking(7), 0.7)[:3] == (
            ResetSpeech(1),
            Send(Flush(utterance_id=1)),
            Interrupt(500, 1),
        )

    def test_comes_while_made_audio_is_still_being_played(self, speaking):
        speaking.agent_emitted(ReplyEnded(), 0.2)
        assert speaking.agent_emitted(UserStartedSpeaking(7), 0.7)

    def test_needs_something_to_interrupt(self, speaking):
        speaking.agent_emitted(ReplyEnded(), 0.2)
        speaking.message_received(Played(utterance_id=1, position_ms=1000, is_complete=True), 1.3)
        assert speaking.agent_emitted(UserStartedSpeaking(7), 1.4) == ()

    def test_happens_once(self, speaking):
        speaking.agent_emitted(UserStartedSpeaking(7), 0.7)
        assert speaking.agent_emitted(UserStartedSpeaking(8), 0.8) == ()

    def test_leaves_the_rest_of_the_reply_unsaid(self, speaking):
        speaking.agent_emitted(UserStartedSpeaking(7), 0.7)
        assert speaking.agent_emitted(ReplyAudio(ONE_SECOND), 0.8) == ()
        assert speaking.agent_emitted(ReplyEnded(), 0.8) == ()

    def test_saves_the_words_that_were_played(self, speaking):
        speaking.saved(1, 0.2)
        speaking.message_received(Played(utterance_id=1, position_ms=500), 0.6)
        record = save(speaking.agent_emitted(UserStartedSpeaking(7), 0.7)).record
        assert record.transcript == (Line(0, "agent", "one two"),)

    def test_a_late_report_of_the_old_utterance_says_nothing_about_the_new(self, speaking):
        speaking.agent_emitted(UserStartedSpeaking(7), 0.7)
        speaking.agent_emitted(Reply("five"), 0.8)
        speaking.message_received(Played(utterance_id=1, position_ms=900, is_complete=True), 0.9)
        assert Interrupt(0, 2) in speaking.agent_emitted(UserStartedSpeaking(9), 1.0)
