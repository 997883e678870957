"""A cascade whose dialogue takes its time, or fails."""

from __future__ import annotations

import pytest

from tests.unit.voice_gateway.agent.cascade.test_conversation import (
    QUIET,
    SPEECH,
    SampleVoice,
    ScriptedRecogniser,
    ScriptedSpeech,
)
from voice_gateway.agent.base import (
    AgentEvent,
    AgentFailed,
    AppMessage,
    ClientToolResult,
    FinalTranscript,
    Finished,
    NoSpeechUpTo,
    Reply,
    StateChanged,
    StopReply,
    UserAudio,
    UserText,
)
from voice_gateway.agent.cascade.cascade import Cascade
from voice_gateway.agent.cascade.parts import Answer, DialoguePolicy, OnAnswer
from voice_gateway.errors import AgentError


class Voices:
    def detector(self) -> SampleVoice:
        return SampleVoice()


class SlowPolicy(DialoguePolicy):
    def __init__(self) -> None:
        self.asked: list[tuple[str, OnAnswer]] = []

    def answer(self, words: tuple[str, ...], on_answer: OnAnswer) -> None:
        self.asked.append((" ".join(words), on_answer))

    def reply(self, text: str | None) -> None:
        self.asked[-1][1](None if text is None else Answer(text, {"said": text}))


class BrokenPolicy(DialoguePolicy):
    def answer(self, words: tuple[str, ...], on_answer: OnAnswer) -> None:
        raise LookupError("no such word")


class Call:
    def __init__(self, policy: DialoguePolicy) -> None:
        self.recogniser = ScriptedRecogniser()
        self.cascade = Cascade(self.recogniser, Voices, ScriptedSpeech, is_inline=True)
        self.policy = policy
        self.events: list[AgentEvent] = []
        self.sequence = 0

    async def open(self) -> Call:
        await self.cascade.open()
        self.conversation = self.cascade.converse(self.policy, self.events.append)
        return self

    def turn(self, words: str) -> None:
        for kind in "v" * 10 + "." * 33:
            self.conversation.hear(UserAudio(self.sequence, SPEECH if kind == "v" else QUIET))
            self.sequence += 1
        self.recogniser.utterances[-1].says(words)

    def of(self, *kinds: type) -> list[AgentEvent]:
        return [event for event in self.events if isinstance(event, kinds)]


async def test_nothing_is_acknowledged_before_the_answer_is_known() -> None:
    policy = SlowPolicy()
    call = await Call(policy).open()
    call.turn("one")
    assert call.of(FinalTranscript, NoSpeechUpTo, Reply) == []
    policy.reply("first")
    assert call.of(FinalTranscript, Reply) == [FinalTranscript("one", 42, {"said": "first"}), Reply("first")]


async def test_a_dialogue_is_asked_for_one_turn_at_a_time_in_order() -> None:
    policy = SlowPolicy()
    call = await Call(policy).open()
    call.turn("one")
    call.turn("two")
    assert [words for words, _ in policy.asked] == ["one"]
    policy.reply("first")
    assert [words for words, _ in policy.asked] == ["one", "two"]
    assert call.of(Reply) == []
    policy.reply("second")
    assert call.of(Reply) == [Reply("first second")]


async def test_finish_waits_for_the_answer() -> None:
    policy = SlowPolicy()
    call = await Call(policy).open()
    call.turn("one")
    call.conversation.finish()
    assert call.of(Finished) == []
    policy.reply("first")
    assert isinstance(call.events[-1], Finished)


async def test_an_answer_is_taken_once_and_not_after_the_end() -> None:
    policy = SlowPolicy()
    call = await Call(policy).open()
    call.turn("one")
    policy.reply("first")
    policy.reply("again")
    assert call.of(Reply) == [Reply("first")]
    call.turn("two")
    call.conversation.close()
    seen = list(call.events)
    policy.reply("late")
    assert call.events == seen


async def test_noise_is_not_written_down_and_its_frames_are_released() -> None:
    policy = SlowPolicy()
    call = await Call(policy).open()
    call.turn("")
    policy.reply(None)
    assert call.of(FinalTranscript, Reply) == []
    assert call.events[-1] == NoSpeechUpTo(42)


async def test_a_dialogue_that_fails_ends_this_call() -> None:
    call = await Call(BrokenPolicy()).open()
    call.turn("one")
    assert call.events[-1] == AgentFailed("the dialogue failed: no such word")


async def test_a_policy_without_a_greeting_waits() -> None:
    call = await Call(SlowPolicy()).open()
    call.conversation.greet()
    call.conversation.greet_again()
    assert call.events == []


async def test_a_cascade_that_is_closed_holds_no_conversation() -> None:
    call = await Call(SlowPolicy()).open()
    await call.cascade.close()
    assert call.conversation.is_closed
    with pytest.raises(AgentError, match="not open"):
        call.cascade.converse(SlowPolicy(), call.events.append)


async def test_typed_text_is_a_turn_and_acknowledged_with_its_answer_alone() -> None:
    policy = SlowPolicy()
    call = await Call(policy).open()
    call.conversation.text_received(UserText(0, "Two Teas, please!"))
    call.conversation.app_message_received(AppMessage(1, {}))
    assert [words for words, _ in policy.asked] == ["two teas please"]
    assert call.of(FinalTranscript, StateChanged) == []
    policy.reply("first")
    assert call.of(FinalTranscript, Reply) == [
        FinalTranscript("Two Teas, please!", -1, {"said": "first"}, through_message=1),
        Reply("first"),
    ]
    call.conversation.text_received(UserText(2, "?"))
    policy.reply(None)
    call.conversation.client_tool_returned(ClientToolResult("x", number=3))
    assert call.of(StateChanged) == [StateChanged(through_message=2), StateChanged(through_message=3)]


async def test_typed_text_comes_before_a_turn_that_is_being_spoken() -> None:
    policy = SlowPolicy()
    call = await Call(policy).open()
    for _ in range(10):
        call.conversation.hear(UserAudio(call.sequence, SPEECH))
        call.sequence += 1
    call.conversation.text_received(UserText(0, "typed"))
    policy.reply("first")
    call.turn("spoken")
    assert [words for words, _ in policy.asked] == ["typed", "spoken"]


async def test_typed_text_interrupts_the_reply() -> None:
    policy = SlowPolicy()
    call = await Call(policy).open()
    call.cascade.say = lambda text, on_speech: lambda: None  # type: ignore[method-assign]
    call.turn("one")
    policy.reply("a long answer")
    call.conversation.text_received(UserText(0, "stop"))
    assert call.of(StopReply) == [StopReply()]
