"""What the caller knows of a session."""

from __future__ import annotations

from voice_client.call.conversation import Conversation
from voice_client.events import StateChanged
from voicelink.wire import Ready, State
from voicelink.wire import Transcript as TranscriptMessage


def test_a_later_text_replaces_the_one_that_was_not_final() -> None:
    conversation = Conversation()
    conversation.apply(Ready(session="s", worker="w", codec=1))
    conversation.apply(TranscriptMessage(turn=1, role="user", text="one", is_final=False))
    conversation.apply(TranscriptMessage(turn=1, role="user", text="one tea", is_final=True))
    conversation.apply(TranscriptMessage(turn=1, role="agent", text="sure", is_final=True))
    assert [(line.role, line.text) for line in conversation.transcript] == [("user", "one tea"), ("agent", "sure")]


def test_an_older_state_does_not_replace_a_newer_one() -> None:
    conversation = Conversation()
    assert conversation.apply(State(revision=2, state={"n": 2})) == StateChanged(2, {"n": 2})
    assert conversation.apply(State(revision=1, state={"n": 1})) is None
    assert conversation.state == {"n": 2}
