"""What an agent saves apart from words, what it learns of playback, and how it hangs up or stops its reply."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.voice_gateway.session.sessions import AUDIO, LIMITS, ONE_SECOND, frame, new_session, save, start
from voice_gateway.agent.base import (
    AgentEvent,
    FinalTranscript,
    HangUp,
    PlaybackFinished,
    Reply,
    ReplyAudio,
    ReplyEnded,
    ReplyText,
    StateChanged,
    StopReply,
)
from voice_gateway.session.core.effects import (
    Close,
    Interrupt,
    ReportPlayback,
    ReportPlayed,
    ReportSaved,
    ResetSpeech,
    Send,
)
from voice_gateway.session.core.lifecycle.agreement import Agreement
from voice_gateway.session.core.lifecycle.state import SessionState
from voice_gateway.session.core.session import Session
from voice_gateway.session.core.session_limits import Identity
from voicelink.wire import (
    MAX_CONTROL_BYTES,
    Bye,
    CloseCode,
    Codec,
    Flush,
    Heard,
    Played,
    Resume,
    State,
    encode_message,
)

CYCLIC: dict[str, Any] = {}
CYCLIC["me"] = CYCLIC


def test_words_and_private_state_are_saved_together_before_the_frames_are_acked(session: Session) -> None:
    session.audio_received(frame(0), 0.1)
    effects = session.agent_emitted(FinalTranscript("a taro", 0, None, {"pending": [1]}), 0.2)
    record = save(effects).record
    assert (record.transcript[0].text, record.private_state, record.acked_sequence) == ("a taro", {"pending": [1]}, 0)
    assert not any(isinstance(effect, Send) and isinstance(effect.message, Heard | State) for effect in effects)
    assert Send(Heard(sequence=0)) in session.saved(record.revision, 0.3)


def test_a_private_state_is_not_shown_to_the_caller() -> None:
    session = new_session()
    start(session, 0.0)
    record = save(session.agent_emitted(StateChanged({"items": 1}, {"secret": 2}), 0.1)).record
    restored = Session(Identity("s-1", "worker-2", "order", AUDIO), LIMITS, 1.0, token="t", record=record)
    effects = restored.resume(Agreement(Codec.OPUS), Resume(session="s-1", token="t"), "u", 1.0)
    shown = [e.message.state for e in effects if isinstance(e, Send) and isinstance(e.message, State)]
    assert shown == [{"items": 1}]
    assert restored.tracker.private_state == {"secret": 2}


def test_a_checkpoint_is_reported_once_its_own_save_is_done(session: Session) -> None:
    first = save(session.agent_emitted(StateChanged(private_state={"n": 1}), 0.1)).record
    assert session.agent_emitted(StateChanged(private_state={"n": 2}, checkpoint=7), 0.2) == ()
    effects = session.saved(first.revision, 0.3)
    assert ReportSaved(7) not in effects
    second = save(effects).record
    assert second.private_state == {"n": 2}
    session.save_failed(second.revision, 0.4)
    again = save(session.tick(60.0)).record
    assert session.saved(again.revision, 60.1)[0] == ReportSaved(7)


def test_the_agent_learns_when_a_reply_was_played(session: Session) -> None:
    session.agent_emitted(Reply("one two"), 0.1)
    session.agent_emitted(ReplyAudio(ONE_SECOND), 0.1)
    session.agent_emitted(ReplyEnded(), 0.1)
    session.utterances.sent(1, len(ONE_SECOND), 0.1)
    assert session.message_received(Played(utterance_id=1, position_ms=500), 0.6) == (ReportPlayed(500),)
    whole = session.message_received(Played(utterance_id=1, position_ms=1000, is_complete=True), 1.1)
    assert whole == (ReportPlayback(PlaybackFinished("one two", 1000)),)


def test_an_agent_stops_its_reply_and_learns_what_was_played(session: Session) -> None:
    session.agent_emitted(Reply("one two three four"), 0.1)
    session.agent_emitted(ReplyAudio(ONE_SECOND), 0.1)
    session.utterances.sent(1, len(ONE_SECOND), 0.1)
    session.message_received(Played(utterance_id=1, position_ms=500), 0.6)
    assert session.agent_emitted(StopReply(), 0.7)[:4] == (
        ResetSpeech(1),
        Send(Flush(utterance_id=1)),
        Interrupt(500, 1),
        ReportPlayback(PlaybackFinished("one two", 500, is_interrupted=True)),
    )
    assert session.agent_emitted(StopReply(), 0.8) == ()


def test_an_agent_hangs_up_with_a_bye_and_the_record_is_forgotten(session: Session) -> None:
    session.audio_received(frame(0), 0.1)
    assert session.agent_emitted(HangUp("closing time"), 0.2) == (
        Send(Bye(frames=1, reason="closing time")),
        Close(CloseCode.NORMAL, "closing time"),
    )
    assert session.state is SessionState.CLOSED


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (FinalTranscript("x" * 16_001, 0), "the agent's text has 16001 characters, a client takes 16000 at once"),
        (Reply("x" * 16_001), "the agent's text has 16001 characters, a client takes 16000 at once"),
        (ReplyText("x" * 16_001), "the agent's text has 16001 characters, a client takes 16000 at once"),
        (StateChanged({"x": "x" * 70_000}), "the agent's state has 70044 bytes as a message, a client takes 65536"),
        (StateChanged(CYCLIC), "the agent's state is not plain maps, lists, strings and numbers"),
        (FinalTranscript("a", 0, {"x": object()}), "the agent's state is not plain maps, lists, strings and numbers"),
        (
            StateChanged(private_state={"x": "x" * (1 << 20)}),
            "the agent's private state has 1048584 bytes, a session record takes 1048576",
        ),
        (
            FinalTranscript("a", 0, private_state=CYCLIC),
            "the agent's private state is not plain maps, lists, strings and numbers",
        ),
    ],
)
def test_what_no_control_message_holds_ends_the_session(session: Session, event: AgentEvent, sentence: str) -> None:
    effects = session.agent_emitted(event, 0.1)
    assert effects[-1] == Close(CloseCode.AGENT_FAILED, sentence)


def test_the_longest_text_fits_into_a_control_message(session: Session) -> None:
    effects = session.agent_emitted(Reply("\U0001f375" * 16_000), 0.1)
    sizes = [len(encode_message(effect.message)) for effect in effects if isinstance(effect, Send)]
    assert 64_000 < max(sizes) <= MAX_CONTROL_BYTES
