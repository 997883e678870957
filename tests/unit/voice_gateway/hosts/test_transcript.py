"""The transcript of a call in its host."""

from __future__ import annotations

from voice_gateway.agent.base import FinalTranscript, PlaybackFinished, Reply, ReplyEnded, ReplyText
from voice_gateway.hosts.process.transcript import CallTranscript
from voice_gateway.store.base import Line


def texts(transcript: CallTranscript) -> list[tuple[int, str, str]]:
    return [(line.turn, line.role, line.text) for line in transcript.lines()]


def test_what_is_emitted_is_there_at_once() -> None:
    transcript = CallTranscript([Line(1, "user", "tea"), Line(1, "agent", "yes")], 1)
    transcript.emitted(FinalTranscript("milk", 4))
    transcript.emitted(Reply("no"))
    assert texts(transcript)[2:] == [(2, "user", "milk"), (2, "agent", "no")]


def test_of_an_interrupted_reply_what_was_played_stays() -> None:
    transcript = CallTranscript([], 0)
    transcript.emitted(Reply("one"))
    transcript.emitted(Reply("two three"))
    transcript.playback_finished(PlaybackFinished("one", 10))
    transcript.playback_finished(PlaybackFinished("two", 10, is_interrupted=True))
    assert texts(transcript) == [(0, "agent", "one"), (0, "agent", "two")]


def test_what_is_said_again_takes_the_place_of_the_lines_it_repeats() -> None:
    lines = [Line(1, "user", "tea"), Line(1, "agent", "one."), Line(1, "agent", "two.")]
    transcript = CallTranscript(lines, 1)
    transcript.say_again("one. two.")
    transcript.emitted(Reply("one. two."))
    assert texts(transcript) == [(1, "user", "tea"), (1, "agent", "one. two.")]


def test_another_reply_than_was_asked_for_is_a_new_line() -> None:
    transcript = CallTranscript([Line(1, "agent", "one.")], 1)
    transcript.say_again("one.")
    transcript.emitted(Reply("two."))
    assert texts(transcript) == [(1, "agent", "one."), (1, "agent", "two.")]


def test_a_reply_whose_words_come_while_it_speaks_has_its_last_text_until_it_ends() -> None:
    transcript = CallTranscript([], 0)
    for event in (Reply("one"), ReplyText("one two three"), ReplyEnded(), ReplyText("four")):
        transcript.emitted(event)
    assert texts(transcript) == [(0, "agent", "one two three")]
    transcript.playback_finished(PlaybackFinished("one two", 10, is_interrupted=True))
    assert texts(transcript) == [(0, "agent", "one two")]
