"""Segments of LiveKit's speech become replies, and end exactly once, with what was played of them."""

from __future__ import annotations

from typing import Any

from livekit import rtc
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT
from livekit.agents.voice.io import PlaybackFinishedEvent, TimedString

from voice_gateway.agent.base import AgentEvent, PlaybackFinished, Reply, ReplyAudio, ReplyEnded
from voice_gateway.agents.livekit.audio_io.speech_output import SpeechOutput
from voice_gateway.agents.livekit.audio_io.texts import Texts

RATE_HZ = 24_000


class Speaking:
    """An output, what it emitted, and the reports that LiveKit got."""

    def __init__(self) -> None:
        self.events: list[AgentEvent] = []
        self.finished: list[PlaybackFinishedEvent] = []
        self.stops = 0
        self.whole: list[str] = []
        self.texts = Texts(self.whole.append)
        self.output = SpeechOutput(self.events.append, self.texts, RATE_HZ, grace_s=60.0, on_stop=self._stopped)
        self.output.on("playback_finished", self.finished.append)

    def _stopped(self) -> None:
        self.stops += 1

    async def frames(self, count: int, timed: tuple[TimedString, ...] = ()) -> None:
        """Give frames of 100 ms, the first with the times of its words."""
        for n in range(count):
            frame = rtc.AudioFrame(b"\1\0" * (RATE_HZ // 10), RATE_HZ, 1, RATE_HZ // 10)
            if timed and n == 0:
                frame.userdata[USERDATA_TIMED_TRANSCRIPT] = list(timed)
            await self.output.capture_frame(frame)

    async def two_sentences(self) -> None:
        await self.frames(5, (TimedString("One two. ", start_time=0.0),))
        await self.frames(10, (TimedString("Three four.", start_time=0.5),))

    def replies(self) -> list[tuple[str, int]]:
        """Each reply's text, and how much of its audio came, in ms."""
        found: list[tuple[str, int]] = []
        for event in self.events:
            if isinstance(event, Reply):
                found.append((event.text, 0))
            elif isinstance(event, ReplyAudio):
                found[-1] = (found[-1][0], found[-1][1] + len(event.pcm) * 500 // RATE_HZ)
        return found

    def ended(self) -> int:
        return sum(isinstance(event, ReplyEnded) for event in self.events)

    def facts(self) -> list[Any]:
        return [(round(each.playback_position, 3), each.interrupted) for each in self.finished]


async def test_each_sentence_is_a_reply_and_the_segment_ends_with_the_last() -> None:
    speaking = Speaking()
    await speaking.two_sentences()
    speaking.output.flush()
    assert speaking.replies() == [("One two.", 500), ("Three four.", 1_000)]
    assert speaking.ended() == 2
    speaking.output.playback_finished(PlaybackFinished("One two.", 500))
    assert speaking.finished == []
    speaking.output.playback_finished(PlaybackFinished("Three four.", 1_000))
    speaking.output.playback_finished(PlaybackFinished("Three four.", 1_000))
    assert speaking.facts() == [(1.5, False)]


async def test_a_cleared_segment_ends_once_with_the_words_played() -> None:
    speaking = Speaking()
    await speaking.two_sentences()
    speaking.output.flush()
    speaking.output.clear_buffer()
    speaking.output.clear_buffer()
    assert (speaking.stops, speaking.finished) == (1, [])
    speaking.output.playback_finished(PlaybackFinished("One two.", 500, is_interrupted=True))
    speaking.output.playback_finished(PlaybackFinished("Three", 400, is_interrupted=True))
    assert speaking.facts() == [(0.9, True)]
    assert speaking.finished[0].synchronized_transcript == "One two. Three"


async def test_text_without_times_is_cut_by_the_usual_length_of_speech() -> None:
    speaking = Speaking()
    await speaking.texts.capture_text("One two three four five. Six seven.")
    speaking.texts.flush()
    await speaking.frames(20)
    speaking.output.flush()
    assert [text for text, _ in speaking.replies()] == ["One two three four five.", "Six seven."]
    assert 1_300 <= speaking.replies()[0][1] <= 1_600
    assert speaking.whole == ["One two three four five. Six seven."]


async def test_text_left_at_the_end_gets_the_last_frame() -> None:
    speaking = Speaking()
    await speaking.texts.capture_text("One two three four five. Six seven.")
    await speaking.frames(3)
    speaking.output.flush()
    assert speaking.replies() == [("One two three four five.", 200), ("Six seven.", 100)]


async def test_what_was_lost_is_said_again_from_what_is_kept() -> None:
    speaking = Speaking()
    await speaking.two_sentences()
    speaking.output.flush()
    assert speaking.output.say_again("One two. Three four.")
    assert speaking.replies()[-1] == ("One two. Three four.", 1_500)
    speaking.output.playback_finished(PlaybackFinished("One two. Three four.", 1_500))
    assert speaking.facts() == [(1.5, False)]
    assert not speaking.output.say_again("One two.")


async def test_what_is_lost_while_it_is_made_goes_on_as_one_reply() -> None:
    speaking = Speaking()
    await speaking.frames(5, (TimedString("One two.", start_time=0.0),))
    assert speaking.output.say_again("One two.")
    await speaking.frames(5)
    speaking.output.flush()
    assert speaking.replies()[-1] == ("One two.", 1_000)


async def test_sentences_said_by_an_earlier_worker_are_not_said_again() -> None:
    speaking = Speaking()
    speaking.output.said = "One two."
    await speaking.two_sentences()
    speaking.output.flush()
    assert speaking.replies() == [("Three four.", 1_000)]
    speaking.output.playback_finished(PlaybackFinished("Three four.", 1_000))
    assert speaking.facts() == [(1.5, False)]


async def test_what_is_said_again_exactly_leaves_the_next_answer_its_beginning() -> None:
    speaking = Speaking()
    speaking.output.exactly, speaking.output.said = "One two.", "One two."
    await speaking.frames(5)
    speaking.output.flush()
    speaking.output.playback_finished(PlaybackFinished("One two.", 500))
    await speaking.two_sentences()
    speaking.output.flush()
    assert speaking.replies() == [("One two.", 500), ("Three four.", 1_000)]


async def test_an_answer_that_differs_from_what_was_said_is_said_whole_from_there() -> None:
    speaking = Speaking()
    speaking.output.said = "One two. Five six."
    await speaking.two_sentences()
    speaking.output.flush()
    assert [text for text, _ in speaking.replies()] == ["Three four."]
    assert speaking.output.said == ""


async def test_a_segment_of_sentences_said_before_ends_at_once() -> None:
    speaking = Speaking()
    speaking.output.said = "One two. Three four."
    await speaking.two_sentences()
    speaking.output.flush()
    assert (speaking.replies(), speaking.facts()) == ([], [(1.5, False)])


async def test_where_nothing_of_the_caller_follows_playback_is_not_waited_for() -> None:
    speaking = Speaking()
    await speaking.two_sentences()
    speaking.output.flush()
    speaking.output.ending()
    assert speaking.facts() == [(1.5, False)]
