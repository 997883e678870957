"""The order of what is said, with a voice whose every sentence the test finishes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from voice_gateway.agent.base import AgentEvent, AgentFailed, PlaybackFinished, Reply, ReplyAudio, ReplyEnded
from voice_gateway.agent.call.speaking.replies import Replies, Spoken, sentences_of
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agent.cascade.cascade import Cascade, OnSpeech


class HandVoice(Cascade):
    """Makes speech when the test says so."""

    def __init__(self) -> None:
        self.making: list[OnSpeech] = []

    def say(self, text: str, on_speech: OnSpeech) -> Callable[[], object]:
        self.making.append(on_speech)
        return lambda: None

    def made(self) -> None:
        self.making[-1](b"\0\0")
        self.making[-1](None)


class Bench:
    def __init__(self) -> None:
        self.events: list[AgentEvent] = []
        self.voice = HandVoice()
        self.replies = Replies(self.events.append, self.voice, Changes(), 48_000, 3.0)

    @property
    def said(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Reply)]

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def texts(*sentences: str) -> AsyncIterator[str]:
    for sentence in sentences:
        yield sentence


async def test_what_is_said_again_is_made_whole_before_the_rest_of_it_follows(bench: Bench) -> None:
    bench.replies.say_again("One.")
    saying = asyncio.create_task(bench.replies.say(texts("Two."), goes_on=True))
    await bench.settle()
    assert bench.said == ["One."]
    bench.voice.made()
    await bench.settle()
    bench.voice.made()
    assert [type(event) for event in bench.events] == [Reply, ReplyAudio, ReplyEnded] * 2
    bench.replies.playback_finished(PlaybackFinished("One.", 200))
    await bench.settle()
    assert not saying.done()
    bench.replies.playback_finished(PlaybackFinished("Two.", 200))
    assert await saying == Spoken("One. Two.", 400)


async def test_something_else_waits_until_what_is_said_again_was_played(bench: Bench) -> None:
    bench.replies.say_again("One.")
    bench.voice.made()
    saying = asyncio.create_task(bench.replies.say(texts("Two.")))
    await bench.settle()
    assert bench.said == ["One."]
    bench.replies.playback_finished(PlaybackFinished("One.", 200))
    await bench.settle()
    bench.voice.made()
    bench.replies.playback_finished(PlaybackFinished("Two.", 200))
    assert await saying == Spoken("Two.", 200)


async def test_after_a_lost_connection_the_text_is_said_again_and_the_rest_follows(bench: Bench) -> None:
    saying = asyncio.create_task(bench.replies.say(texts("One.", "Two.", "Three.")))
    await bench.settle()
    bench.voice.made()
    await bench.settle()
    bench.replies.say_again("One. Two.")  # the second was being made
    await bench.settle()
    assert bench.said == ["One.", "Two.", "One. Two."]
    bench.voice.made()
    await bench.settle()
    bench.voice.made()
    bench.replies.playback_finished(PlaybackFinished("One. Two.", 400))
    bench.replies.playback_finished(PlaybackFinished("Three.", 200))
    assert await saying == Spoken("One. Two. Three.", 600)


async def test_a_voice_that_fails_while_nothing_waits_for_it_ends_the_session(bench: Bench) -> None:
    bench.replies.say_again("One.")
    bench.voice.making[-1](RuntimeError("no such sound"))
    assert bench.events[-1] == AgentFailed("speech synthesis failed: RuntimeError")


async def test_pcm_is_not_mixed_into_what_is_said_again(bench: Bench) -> None:
    more = asyncio.Event()

    async def tone() -> AsyncIterator[bytes]:
        yield b"\1\0"
        await more.wait()
        yield b"\2\0"

    playing = asyncio.create_task(bench.replies.play(tone(), "A tone"))
    await bench.settle()
    bench.replies.say_again("A tone")
    more.set()
    await bench.settle()
    bench.voice.made()
    bench.replies.playback_finished(PlaybackFinished("A tone", 200))
    assert await playing == Spoken("A tone", 200)
    assert [event.pcm for event in bench.events if isinstance(event, ReplyAudio)] == [b"\1\0", b"\0\0"]


async def test_what_has_not_begun_is_not_interrupted_by_the_caller_but_by_the_agent(bench: Bench) -> None:
    bench.replies.is_caller_speaking = True
    saying = asyncio.create_task(bench.replies.say(texts("One.")))
    await bench.settle()
    bench.replies.cut_off(is_wanted=False)
    await bench.settle()
    assert not saying.done()
    bench.replies.cut_off()
    bench.replies.is_caller_speaking = False
    await bench.settle()
    assert await saying == Spoken("", 0, is_interrupted=True)
    assert bench.said == []


async def test_sentences_of_a_stream_come_as_soon_as_the_next_begins() -> None:
    pieces = ("It is 3", ".5 dol", "lars. ", "Wh", "at?  Yes!", " Bye")
    assert [each async for each in sentences_of(texts(*pieces))] == ["It is 3.5 dollars.", "What?", "Yes!", "Bye"]
