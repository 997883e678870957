"""Agents whose words come while they speak."""

from __future__ import annotations

from tests.unit.voice_gateway.session.sessions import ONE_SECOND, new_session, start
from voice_gateway.agent.base import Reply, ReplyAudio, ReplyText, StopReply
from voice_gateway.session.core.effects import Send
from voice_gateway.session.core.session import Session
from voicelink.wire import Played, Transcript


def replying(text: str) -> Session:
    session = new_session()
    start(session, 0.0)
    session.agent_emitted(Reply(text), 0.0)
    return session


def said(session: Session) -> list[str]:
    return [line.text for line in session.tracker.transcript.since(0)]


def test_the_newest_text_replaces_the_one_before() -> None:
    session = replying("You have")
    effects = session.agent_emitted(ReplyText("You have two."), 0.1)
    assert said(session) == ["You have two."]
    sent = [each.message for each in effects if isinstance(each, Send) and isinstance(each.message, Transcript)]
    assert [(each.role, each.text) for each in sent] == [("agent", "You have two.")]


def test_an_interruption_keeps_the_words_of_the_newest_text_that_were_played() -> None:
    session = replying("One")
    session.agent_emitted(ReplyText("One two three four"), 0.0)
    session.agent_emitted(ReplyAudio(ONE_SECOND), 0.0)
    session.utterances.sent(1, len(ONE_SECOND), 0.0)
    session.message_received(Played(utterance_id=1, position_ms=500), 0.5)
    session.agent_emitted(StopReply(), 0.5)
    assert said(session) == ["One two"]


def test_text_after_an_interruption_changes_nothing() -> None:
    session = replying("One")
    session.agent_emitted(ReplyAudio(ONE_SECOND), 0.0)
    session.agent_emitted(StopReply(), 0.5)
    session.agent_emitted(ReplyText("One two three four"), 0.6)
    assert "One two three four" not in said(session)
