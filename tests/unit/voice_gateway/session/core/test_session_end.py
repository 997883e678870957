"""How a session ends: by bye, by drain, by silence."""

from __future__ import annotations

import pytest

from tests.unit.voice_gateway.session.sessions import ONE_SECOND, closing, frame, save
from voice_gateway.agent.base import (
    FinalTranscript,
    Finished,
    HangUp,
    NoSpeechUpTo,
    PartialTranscript,
    Reply,
    ReplyAudio,
)
from voice_gateway.session.core.effects import (
    Close,
    Decode,
    EndSpeech,
    Finish,
    ReportPlayed,
    Save,
    Send,
)
from voice_gateway.session.core.lifecycle.state import SessionState
from voicelink.wire import (
    Bye,
    CloseCode,
    Drain,
    Heard,
    Ping,
    Played,
    Pong,
    Start,
)


class TestBye:
    def finish(self, session, now=1.0):
        return session.agent_emitted(Finished(), now)

    def test_without_a_word_said_ends_at_once(self, session):
        assert session.message_received(Bye(frames=0), 1.0) == (Finish(),)
        assert self.finish(session) == (Send(Bye(frames=0)), Close(CloseCode.NORMAL, "bye"))
        assert session.deadline is None

    def test_waits_for_the_frames_it_overtook(self, session):
        session.audio_received(frame(0), 0.9)
        assert session.message_received(Bye(frames=2), 1.0) == ()
        assert session.audio_received(frame(1), 1.1) == (Decode(frame(1)), Finish())

    def test_waits_until_the_last_words_are_saved(self, session):
        session.audio_received(frame(0), 0.9)
        session.message_received(Bye(frames=1), 1.0)
        session.agent_emitted(FinalTranscript("bye", 0), 1.1)
        assert self.finish(session, 1.2) == ()
        assert session.saved(1, 1.3) == (Send(Heard(sequence=0)), Send(Bye(frames=1)), Close(CloseCode.NORMAL, "bye"))

    def test_has_every_frame_acked(self, session):
        session.audio_received(frame(0), 0.9)
        session.message_received(Bye(frames=1), 1.0)
        record = save(self.finish(session)).record
        assert session.saved(record.revision, 1.3)[0] == Send(Heard(sequence=0))

    def answered(self, session, seconds) -> None:
        session.message_received(Bye(frames=0), 1.0)
        session.agent_emitted(Reply("See you."), 1.1)
        session.agent_emitted(ReplyAudio(ONE_SECOND * seconds), 1.1)
        session.saved(1, 1.2)
        assert self.finish(session, 1.3) == (EndSpeech(1),)

    def test_waits_until_the_last_answer_was_played(self, session):
        self.answered(session, 1)
        assert session.message_received(Played(utterance_id=1, position_ms=900), 2.0) == (ReportPlayed(0),)
        effects = session.message_received(Played(utterance_id=1, position_ms=1000, is_complete=True), 2.1)
        assert effects[-1] == Close(CloseCode.NORMAL, "bye")

    def test_waits_for_a_caller_who_never_reports_until_the_answer_must_have_been_played(self, session):
        self.answered(session, 60)
        assert session.deadline == pytest.approx(1.1 + 60 + 3)
        assert session.tick(64.0) == ()
        assert session.tick(session.deadline)[-1] == Close(CloseCode.NORMAL, "bye")

    def test_an_operator_may_hang_up_while_the_last_answer_is_played(self, session):
        self.answered(session, 60)
        effects = session.operator_asked(HangUp("maintenance"), 2.0)
        assert effects[-1] == Close(CloseCode.NORMAL, "maintenance")
        assert isinstance(session.operator_asked(HangUp(), 2.1), str)

    def test_gives_up_on_an_agent_that_never_finishes(self, session):
        session.message_received(Bye(frames=0), 1.0)
        assert session.tick(30.9) == ()
        assert closing(session.tick(31.0)) is CloseCode.AGENT_FAILED

    def test_has_patience_with_an_agent_that_is_slow_but_makes_progress(self, session):
        for sequence in range(3):
            session.audio_received(frame(sequence), 0.9)
        session.message_received(Bye(frames=3), 1.0)
        first = save(session.agent_emitted(NoSpeechUpTo(0), 29.0)).record
        session.saved(first.revision, 29.1)
        assert session.agent_emitted(PartialTranscript("a"), 58.0)
        assert session.tick(31.0) == ()
        record = save(session.agent_emitted(FinalTranscript("a latte", 2), 87.0)).record
        assert session.tick(88.0) == ()
        self.finish(session, 116.0)
        assert session.saved(record.revision, 116.1)[-1] == Close(CloseCode.NORMAL, "bye")

    def test_gives_up_on_an_agent_that_falls_silent(self, session):
        session.message_received(Bye(frames=0), 1.0)
        session.agent_emitted(PartialTranscript("a"), 20.0)
        assert session.deadline == 50.0
        assert session.tick(49.9) == ()
        assert closing(session.tick(50.0)) is CloseCode.AGENT_FAILED

    def test_keeps_trying_to_save_until_it_gives_up(self, session):
        session.audio_received(frame(0), 0.9)
        session.message_received(Bye(frames=1), 1.0)
        now, attempts = 1.0, 0
        effects = self.finish(session, now)
        while isinstance(effects[0], Save):
            attempts += 1
            session.save_failed(effects[0].record.revision, now)
            now = session.deadline
            effects = session.tick(now)
        assert attempts > 20
        assert closing(effects) is CloseCode.AGENT_FAILED

    @pytest.mark.parametrize("second", [Bye(frames=0), Start()])
    def test_is_the_last_word(self, session, second):
        session.message_received(Bye(frames=0), 1.0)
        assert closing(session.message_received(second, 1.1)) is CloseCode.WRONG_ORDER

    def test_is_not_followed_by_more_audio_than_it_named(self, session):
        session.message_received(Bye(frames=0), 1.0)
        assert closing(session.audio_received(frame(0), 1.1)) is CloseCode.WRONG_ORDER

    def test_cannot_take_frames_back(self, session):
        session.audio_received(frame(0), 0.9)
        assert closing(session.message_received(Bye(frames=0), 1.0)) is CloseCode.WRONG_ORDER

    def test_a_premature_finish_of_the_agent_is_ignored(self, session):
        assert self.finish(session) == ()
        assert session.state is SessionState.ACTIVE


class TestDrain:
    def test_tells_the_caller_and_goes_on(self, session):
        assert session.drain(20.0, 1.0) == (Send(Drain(deadline_s=20.0)),)
        assert session.audio_received(frame(0), 1.1) == (Decode(frame(0)),)
        assert session.message_received(Bye(frames=1), 2.0) == (Finish(),)

    def test_ends_the_session_at_the_deadline(self, session):
        session.drain(20.0, 1.0)
        assert session.deadline == 21.0
        assert closing(session.tick(21.0)) is CloseCode.DRAINING


class TestLiveliness:
    def test_a_ping_is_answered(self, session):
        assert session.message_received(Ping(id=9), 1.0) == (Send(Pong(id=9)),)

    def test_a_caller_who_sends_nothing_is_given_up(self, session):
        session.message_received(Ping(id=9), 5.0)
        session.audio_received(frame(0), 7.0)
        assert session.deadline == 37.0
        assert closing(session.tick(37.0)) is CloseCode.IDLE

    def test_a_lost_transport_closes_silently(self, session):
        (close,) = session.lost("timed out", 1.0)
        assert isinstance(close, Close)
        assert close.code is CloseCode.NORMAL

    def test_the_worker_may_end_it(self, session):
        assert closing(session.end(CloseCode.INTERNAL, "the worker failed")) is CloseCode.INTERNAL
