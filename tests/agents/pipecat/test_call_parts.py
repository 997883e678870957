"""Parts of a pipeline's call that own one thing each: its turns, its replies, and what of them is saved."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pipecat.processors.aggregators.llm_context import LLMContext

from voice_gateway.agent.base import (
    AgentEvent,
    FinalTranscript,
    PlaybackFinished,
    Reply,
    ReplyAudio,
    ReplyEnded,
    SessionView,
    StateChanged,
    StopReply,
    UserStartedSpeaking,
    UserText,
)
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.pipecat.call.progress import PipelineProgress
from voice_gateway.agents.pipecat.call.replies import PipelineReplies
from voice_gateway.agents.pipecat.call.turns import PipelineTurns
from voice_gateway.agents.pipecat.transport.output.playback_timeline import PlaybackTimeline

SECOND = 100
USER = {"role": "user", "content": "a taro tea"}


class Call:
    """The parts of a call, and what they emit; `private` is what another worker saved."""

    def __init__(self, private: Mapping[str, Any] | None = None, turn: int = 0) -> None:
        self.events: list[AgentEvent] = []
        changes = Changes()
        self.timeline: PlaybackTimeline[Any] = PlaybackTimeline(SECOND)
        self.progress = PipelineProgress(self.events.append, changes, {"items": []})
        self.turns = PipelineTurns(self.events.append, self.progress, changes)
        self.replies = PipelineReplies(self.events.append, self.timeline, changes)
        self.progress.restore(SessionView("s-1", turn, private or {}, tuple, lambda: True))
        self.context = LLMContext()
        self.progress.fill(self.context, is_answer_said=False)

    @property
    def private(self) -> Mapping[str, Any]:
        """What was saved last."""
        saved = [each.private_state for each in self.events if isinstance(each, FinalTranscript | StateChanged)]
        assert saved[-1] is not None
        return saved[-1]

    def next(self) -> Call:
        """Return the call as another worker restores it."""
        return Call(self.private, turn=1)


def asked() -> Call:
    call = Call()
    call.context.add_message(USER)  # type: ignore[arg-type,unused-ignore]  # pipecat types them as of OpenAI
    call.turns.understood("a taro tea", 7)
    return call


def test_a_turn_is_pending_at_the_next_worker_until_its_answer_is_whole() -> None:
    call = asked()
    assert not call.next().progress.restored_answer
    assert call.next().progress.is_pending
    call.turns.announced("One taro tea.")
    call.turns.announced("Anything else?")
    call.turns.answer_made()
    restored = call.next()
    assert not restored.progress.is_pending
    assert restored.progress.restored_answer == "One taro tea. Anything else?"
    assert restored.context.get_messages() == [USER, {"role": "assistant", "content": "One taro tea. Anything else?"}]


def test_an_answer_that_the_context_holds_is_not_restored_twice() -> None:
    call = asked()
    call.turns.announced("One taro tea.")
    call.turns.answer_made()
    call.turns.answer_in_context()
    assert (call.next().progress.restored_answer, call.next().progress.is_pending) == ("", False)


def test_a_turn_whose_answer_was_cut_off_is_not_pending() -> None:
    call = asked()
    call.turns.announced("One taro")
    call.turns.answer_cut()
    call.turns.answer_made()
    assert (call.next().progress.restored_answer, call.next().progress.is_pending) == ("", False)


def test_an_interruption_of_nothing_saves_nothing() -> None:
    call = Call()
    call.turns.answer_cut()
    call.turns.answer_made()
    assert call.events == []


def test_a_typed_turn_is_acknowledged_with_its_words_in_what_is_saved() -> None:
    call = Call()
    call.turns.silent(4)
    call.turns.typed(UserText(3, "a taro tea"))
    transcript = call.events[-1]
    assert isinstance(transcript, FinalTranscript)
    assert (transcript.through_sequence, transcript.through_message) == (4, 3)
    assert call.next().context.get_messages() == [USER]


def test_the_state_is_saved_with_the_answer_and_only_where_it_changed() -> None:
    call = asked()
    call.progress.state["items"].append("taro tea")
    call.turns.announced("One taro tea.")
    call.turns.answer_made()
    call.turns.answer_in_context()
    states = [each.state for each in call.events if isinstance(each, StateChanged)]
    assert states == [{"items": ["taro tea"]}, None]


async def test_a_tool_is_called_once_it_is_saved_and_not_again_at_the_next_worker() -> None:
    keys: list[str] = []

    async def add(key: str, item: str) -> str:
        keys.append(key)
        return item

    call = asked()
    calling = asyncio.get_running_loop().create_task(call.progress.tool(add, {"item": "taro"}))
    for checkpoint in (1, 2):
        for _ in range(5):  # all that can happen without a save
            await asyncio.sleep(0)
        assert isinstance(call.events[-1], StateChanged)
        assert (call.events[-1].checkpoint, len(keys)) == (checkpoint, checkpoint - 1)
        call.progress.saved(checkpoint)
    assert await calling == "taro"
    assert await call.next().progress.tool(add, {"item": "taro"}) == "taro"
    assert len(keys) == 1


def test_a_users_voice_stops_a_reply_by_itself() -> None:
    call = asked()
    call.replies.interrupting(is_user=True)
    assert not any(isinstance(each, StopReply) for each in call.events)
    call.turns.started_speaking()
    call.replies.interrupting(is_user=False)
    assert call.events[-2:] == [UserStartedSpeaking(8), StopReply()]


def said(call: Call, text: str, pcm: bytes) -> None:
    """The output says this."""
    call.timeline.begin(text)
    call.replies.begin(text)
    call.timeline.add(pcm)
    call.replies.audio(pcm)
    call.timeline.end()
    call.replies.end()


def test_replies_of_this_worker_are_said_again_from_their_audio() -> None:
    call = Call()
    said(call, "Hi.", b"12")
    said(call, "What can I get you?", b"34")
    call.events.clear()
    assert call.replies.say_again("Hi. What can I get you?")
    assert call.events == [Reply("Hi. What can I get you?"), ReplyAudio(b"1234"), ReplyEnded()]
    assert call.replies.wanted_again is None


def test_a_reply_of_another_worker_has_its_whole_text_when_its_first_sentence_is_made() -> None:
    call = Call()
    assert not call.replies.say_again("Hi. What can I get you?")
    call.replies.begin("Hi.")
    call.replies.begin("What else?")
    assert call.events == [Reply("Hi. What can I get you?"), Reply("What else?")]


def test_another_reply_than_the_wanted_one_has_its_own_text() -> None:
    call = Call()
    call.replies.say_again("Hi there.")
    call.replies.begin("Hi")
    call.replies.say_again("Hi there.")
    call.replies.begin("Hello.")
    call.replies.say_again("Hi there.")
    call.replies.interrupting(is_user=True)
    call.replies.begin("Hi there")
    assert [each.text for each in call.events if isinstance(each, Reply)] == ["Hi there.", "Hello.", "Hi there"]


def test_the_text_that_was_played_is_that_of_the_first_reply_cut_off() -> None:
    call = Call()
    said(call, "One. ", b"1" * SECOND)
    said(call, "Two.", b"2" * SECOND)
    call.replies.playback_finished(PlaybackFinished("On", 500, is_interrupted=True))
    call.replies.playback_finished(PlaybackFinished("", 0, is_interrupted=True))
    assert (call.timeline.cut_text, call.timeline.played_s) == ("On", 0.5)
