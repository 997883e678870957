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


def said(conversation: Conversation) -> list[str]:
    return [line.text for line in conversation.transcript]


def agent_line(turn: int, text: str, utterance_id: int | None, *replaces: int) -> TranscriptMessage:
    return TranscriptMessage(
        turn=turn, role="agent", text=text, is_final=True, utterance_id=utterance_id, replaces=replaces
    )


def test_each_utterance_of_a_turn_has_a_line_which_its_later_text_replaces() -> None:
    conversation = Conversation()
    for line in (agent_line(1, "One moment.", 3), agent_line(1, "Two", 4), agent_line(1, "Two teas.", 4)):
        conversation.apply(line)
    assert said(conversation) == ["One moment.", "Two teas."]
    conversation.apply(agent_line(1, "One moment, please.", 3))
    assert said(conversation) == ["One moment, please.", "Two teas."]


def test_what_is_said_again_takes_the_place_of_the_lines_it_repeats() -> None:
    conversation = Conversation()
    for line in (agent_line(0, "Hi.", 1), agent_line(1, "One.", 2), agent_line(1, "Two.", 3)):
        conversation.apply(line)
    conversation.apply(agent_line(2, "Three.", 4))
    conversation.apply(agent_line(1, "One. Two.", 5, 2, 3))
    assert said(conversation) == ["Hi.", "One. Two.", "Three."]


def test_a_resume_repeats_the_newest_turn_with_what_was_cut_short() -> None:
    conversation = Conversation()
    for line in (agent_line(0, "Hi.", 1), agent_line(1, "A long answer.", 2)):
        conversation.apply(line)
    conversation.apply(Ready(session="s", worker="w", codec=1))
    conversation.apply(agent_line(1, "A long", None))
    assert said(conversation) == ["Hi.", "A long"]


def test_an_older_server_has_one_line_for_each_turn_of_the_agent() -> None:
    conversation = Conversation()
    for line in (agent_line(1, "One", None), agent_line(1, "One tea.", None), agent_line(2, "Bye.", None)):
        conversation.apply(line)
    assert said(conversation) == ["One tea.", "Bye."]


def test_an_older_state_does_not_replace_a_newer_one() -> None:
    conversation = Conversation()
    assert conversation.apply(State(revision=2, state={"n": 2})) == StateChanged(2, {"n": 2})
    assert conversation.apply(State(revision=1, state={"n": 1})) is None
    assert conversation.state == {"n": 2}
