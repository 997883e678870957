"""The conversation's order of events, with a scripted recogniser, voice and caller."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from voice_gateway.agent.base import (
    AgentEvent,
    AgentFailed,
    Emit,
    FinalTranscript,
    Finished,
    NoSpeechUpTo,
    PartialTranscript,
    Reply,
    ReplyAudio,
    ReplyEnded,
    UserAudio,
    UserStartedSpeaking,
    UserStoppedSpeaking,
)
from voice_gateway.agent.cascade.cascade import Cascade, CascadeConversation
from voice_gateway.agent.cascade.parts import Answer, DialoguePolicy, OnAnswer, OnWords
from voice_gateway.agents.order.dialogue import NOT_UNDERSTOOD, Dialogue, answer, greeting
from voice_gateway.agents.order.menu import default_menu
from voice_gateway.agents.order.understanding.grammar import Lexicon
from voice_gateway.agents.order.understanding.parse import parse
from voice_gateway.errors import GatewayError

SPEECH, QUIET = b"\1\0" * 320, bytes(640)


class ScriptedUtterance:
    def __init__(self, on_words: OnWords) -> None:
        self.on_words = on_words
        self.pcm = b""
        self.is_ended = self.is_abandoned = False

    def feed(self, pcm: bytes) -> None:
        self.pcm += pcm

    def end(self) -> None:
        self.is_ended = True

    def abandon(self) -> None:
        self.is_abandoned = True

    def says(self, text: str, *, is_final: bool = True) -> None:
        self.on_words(tuple(text.split()), is_final)


class ScriptedRecogniser:
    def __init__(self) -> None:
        self.utterances: list[ScriptedUtterance] = []

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def begin(self, on_words: OnWords) -> ScriptedUtterance:
        self.utterances.append(ScriptedUtterance(on_words))
        return self.utterances[-1]


class ScriptedSpeech:
    def synthesize(self, text: str) -> Iterator[bytes]:
        yield text.encode()


class Clerk(DialoguePolicy):
    """Takes orders, and answers noise three times in a row at most."""

    def __init__(self) -> None:
        self.dialogue = Dialogue(default_menu())
        self.lexicon = Lexicon(self.dialogue.menu)

    def greeting(self) -> str:
        return greeting(self.dialogue)

    def is_finished(self, words: tuple[str, ...]) -> bool:
        return parse(words, self.lexicon) is not None

    def answer(self, words: tuple[str, ...], on_answer: OnAnswer) -> None:
        if not words and self.dialogue.misunderstandings >= 3:
            on_answer(None)
            return
        before = self.dialogue.to_state()
        self.dialogue, text = answer(self.dialogue, parse(words, self.lexicon))
        state = self.dialogue.to_state()
        on_answer(Answer(text, None if state == before else state))


class SampleVoice:
    rate_hz = 16_000

    def detector(self) -> SampleVoice:
        return self

    def probability(self, pcm: bytes) -> float:
        return float(pcm[0])


def conversation_of(cascade: Cascade, emit: Emit) -> CascadeConversation:
    return CascadeConversation(cascade, SampleVoice(), Clerk(), emit)


class Call:
    def __init__(self, *, is_inline: bool = True) -> None:
        self.recogniser = ScriptedRecogniser()
        self.agent = Cascade(self.recogniser, SampleVoice, ScriptedSpeech, is_inline=is_inline)
        self.events: list[AgentEvent] = []
        self.conversation = conversation_of(self.agent, self.events.append)
        self.sequence = 0

    def hear(self, pattern: str) -> None:
        for kind in pattern:
            self.conversation.hear(UserAudio(self.sequence, SPEECH if kind == "v" else QUIET))
            self.sequence += 1

    def turn(self) -> ScriptedUtterance:
        self.hear("v" * 10 + "." * 33)
        return self.recogniser.utterances[-1]

    def taken(self) -> list[AgentEvent]:
        taken, self.events[:] = list(self.events), []
        return taken


def test_a_turn_is_understood_saved_and_answered() -> None:
    call = Call()
    call.turn().says("a taro")
    started, stopped, understood, reply, *audio, ended = call.taken()
    assert started == UserStartedSpeaking(0, onset=0)
    assert stopped == UserStoppedSpeaking(9)
    assert isinstance(understood, FinalTranscript)
    assert (understood.text, understood.through_sequence) == ("a taro", 42)
    assert understood.state is not None
    assert understood.state["total"] == "5.50"
    assert reply == Reply("One medium taro milk tea. Anything else?")
    assert b"".join(chunk.pcm for chunk in audio if isinstance(chunk, ReplyAudio)) == reply.text.encode()
    assert ended == ReplyEnded()


def test_the_recogniser_gets_every_frame_of_the_turn() -> None:
    call = Call()
    call.hear("..")
    utterance = call.turn()
    assert utterance.pcm == QUIET * 2 + SPEECH * 10 + QUIET * 33
    assert utterance.is_ended


def test_frames_behind_a_turn_are_not_forgotten_before_it_is_understood() -> None:
    call = Call()
    utterance = call.turn()
    call.hear("." * 100)
    assert not any(isinstance(event, NoSpeechUpTo) for event in call.taken())
    utterance.says("a taro")
    events = call.taken()
    assert isinstance(events[0], FinalTranscript)
    assert isinstance(events[-1], NoSpeechUpTo)
    assert 42 < events[-1].through_sequence < 143


def test_turns_are_answered_in_the_order_in_which_they_were_spoken() -> None:
    call = Call()
    first, second = call.turn(), call.turn()
    second.says("make it large")
    assert not any(isinstance(event, FinalTranscript) for event in call.taken())
    first.says("a taro")
    events = call.taken()
    assert [event.text for event in events if isinstance(event, FinalTranscript)] == ["a taro", "make it large"]
    assert [event.text for event in events if isinstance(event, Reply)] == [
        "One medium taro milk tea. Anything else? Okay, one large taro milk tea. Anything else?"
    ]


def test_words_so_far_are_told_and_an_unfinished_sentence_waits() -> None:
    call = Call()
    call.hear("v" * 10)
    call.recogniser.utterances[0].says("large taro milk tea and", is_final=False)
    assert call.taken()[-1] == PartialTranscript("large taro milk tea and")
    call.hear("." * 60)
    assert not call.recogniser.utterances[0].is_ended
    call.hear("." * 10)
    assert call.recogniser.utterances[0].is_ended


def test_what_makes_no_sense_is_asked_again_and_changes_nothing() -> None:
    call = Call()
    call.turn().says("the cheese")
    understood, reply = call.taken()[2:4]
    assert isinstance(understood, FinalTranscript)
    assert understood.state is None
    assert reply == Reply(NOT_UNDERSTOOD)


def test_noise_without_words_is_asked_about_three_times_at_most() -> None:
    call = Call()
    for _ in range(5):
        call.turn().says("")
    events = call.taken()
    assert sum(isinstance(event, Reply) for event in events) == 3
    assert isinstance(events[-1], NoSpeechUpTo)
    call.turn().says("a taro")
    assert any(isinstance(event, Reply) for event in call.taken())


def test_finish_answers_the_pending_turn_first() -> None:
    call = Call()
    call.hear("v" * 10)
    call.conversation.finish()
    assert not any(isinstance(event, Finished) for event in call.taken())
    call.recogniser.utterances[0].says("a taro")
    kinds = [type(event) for event in call.taken()]
    assert kinds == [FinalTranscript, Reply, ReplyAudio, ReplyEnded, Finished]


def test_finish_without_a_word_is_finished_at_once() -> None:
    call = Call()
    call.hear("." * 10)
    call.conversation.finish()
    assert call.taken() == [NoSpeechUpTo(9), Finished()]


def test_a_closed_conversation_says_nothing() -> None:
    call = Call()
    call.hear("v" * 10)
    call.taken()
    call.conversation.close()
    utterance = call.recogniser.utterances[0]
    assert utterance.is_abandoned
    utterance.says("a taro")
    call.conversation.finish()
    call.hear("v" * 10)
    assert call.taken() == []


def test_a_frame_with_silence_in_front_is_not_forgotten_with_it() -> None:
    call = Call()
    call.hear("v" * 10)
    call.conversation.hear(UserAudio(10, QUIET * 33 + SPEECH * 10))
    call.recogniser.utterances[0].says("a taro")
    understood = next(event for event in call.taken() if isinstance(event, FinalTranscript))
    assert understood.through_sequence == 9
    assert len(call.recogniser.utterances) == 2


async def test_barge_in_stops_the_reply() -> None:
    call = Call(is_inline=False)
    call.turn().says("a taro")
    assert isinstance(call.taken()[-1], Reply)
    call.hear("v" * 10)
    call.conversation.interrupted(0)
    await call.agent.close()
    assert not any(isinstance(event, ReplyAudio | ReplyEnded) for event in call.taken())


async def test_a_voice_that_fails_ends_this_call() -> None:
    class BrokenSpeech:
        def synthesize(self, text: str) -> Iterator[bytes]:
            raise RuntimeError("no voice")

    events: list[AgentEvent] = []
    agent = Cascade(ScriptedRecogniser(), SampleVoice, BrokenSpeech, is_inline=True)
    conversation = conversation_of(agent, events.append)
    conversation.greet()
    assert events[-1] == AgentFailed("speech synthesis failed: no voice")
    await agent.close()


def test_a_cascade_that_is_not_open_holds_no_conversation() -> None:
    with pytest.raises(GatewayError, match="not open"):
        Cascade(ScriptedRecogniser(), SampleVoice, ScriptedSpeech).converse(Clerk(), lambda event: None)
