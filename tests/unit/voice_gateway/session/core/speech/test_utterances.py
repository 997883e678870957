from __future__ import annotations

import pytest

from voice_gateway.session.core.speech.agent_audio import AgentAudio
from voice_gateway.session.core.speech.utterances.utterance import Cut, WholePlayback
from voice_gateway.session.core.speech.utterances.utterances import Utterances

RATE = 24_000
AUDIO = AgentAudio(RATE, RATE)
ONE_SECOND = RATE * 2


def spoken(utterances, text, seconds, now=0.0):
    utterance_id = utterances.begin(text)
    pcm = utterances.add(bytes(int(seconds * ONE_SECOND)), now)
    utterances.end()
    utterances.sent(utterance_id, len(pcm), now)
    return utterance_id


def test_ids_count_from_one():
    utterances = Utterances(AUDIO)
    assert [spoken(utterances, "hi", 1), spoken(utterances, "hi", 1)] == [1, 2]


def test_an_utterance_is_outstanding_until_it_was_played_to_its_end():
    utterances = Utterances(AUDIO)
    utterance_id = spoken(utterances, "hello there", 1)
    utterances.played(utterance_id, 400, is_complete=False, now=0.4)
    assert utterances.has_outstanding
    utterances.played(utterance_id, 1000, is_complete=True, now=0.4)
    assert not utterances.has_outstanding
    assert utterances.interrupt(5.0) is None


def test_an_utterance_that_is_still_being_made_cannot_be_complete():
    utterances = Utterances(AUDIO)
    utterance_id = utterances.begin("hello")
    utterances.played(utterance_id, 0, is_complete=True, now=0.4)
    assert utterances.has_outstanding


@pytest.mark.parametrize(("played_ms", "said"), [(0, ""), (500, "one two"), (1000, "one two three four")])
def test_an_interruption_keeps_the_words_that_were_played(played_ms, said):
    utterances = Utterances(AUDIO)
    utterance_id = spoken(utterances, "one two three four", 1)
    utterances.played(utterance_id, played_ms, is_complete=False, now=0.4)
    assert utterances.interrupt(0.5) == (played_ms, (Cut(utterance_id, said, played_ms),))


def test_an_interruption_cuts_all_that_is_outstanding_and_reports_the_newest():
    utterances = Utterances(AUDIO)
    first, second = spoken(utterances, "a b", 1), spoken(utterances, "c d", 1)
    utterances.played(first, 500, is_complete=False, now=0.4)
    assert utterances.interrupt(0.5) == (0, (Cut(first, "a", 500), Cut(second, "", 0)))


def test_reports_of_old_and_of_unknown_utterances_say_nothing():
    utterances = Utterances(AUDIO)
    first = spoken(utterances, "a b", 1)
    utterances.interrupt(0.5)
    second = spoken(utterances, "c d", 1)
    utterances.played(first, 900, is_complete=True, now=0.4)
    utterances.played(77, 900, is_complete=True, now=0.4)
    assert utterances.interrupt(0.6) == (0, (Cut(second, "", 0),))


def test_a_report_never_goes_back():
    utterances = Utterances(AUDIO)
    utterance_id = spoken(utterances, "a b", 1)
    utterances.played(utterance_id, 600, is_complete=False, now=0.4)
    utterances.played(utterance_id, 200, is_complete=False, now=0.4)
    interrupted = utterances.interrupt(1.0)
    assert interrupted is not None
    assert interrupted[0] == 600


def test_speech_until_counts_from_when_audio_was_made():
    utterances = Utterances(AUDIO)
    spoken(utterances, "a", 2, now=10.0)
    assert utterances.speech_until == 12.0
    spoken(utterances, "b", 1, now=10.5)
    assert utterances.speech_until == 13.0
    spoken(utterances, "c", 1, now=20.0)
    assert utterances.speech_until == 21.0


def test_a_caller_who_never_reports_costs_bounded_memory():
    utterances = Utterances(AUDIO)
    for _ in range(1000):
        spoken(utterances, "a", 0.1)
    interrupted = utterances.interrupt(0.0)
    assert interrupted is not None
    assert len(interrupted[1]) == 64


def test_no_more_is_played_than_was_sent():
    utterances = Utterances(AUDIO)
    utterance_id = spoken(utterances, "a b", 1)
    utterances.played(utterance_id, 2**62 - 1, is_complete=False, now=0.4)
    assert utterances.interrupt(1.0) == (1000, (Cut(utterance_id, "a b", 1000),))


def test_what_was_made_and_not_sent_was_not_said():
    utterances = Utterances(AUDIO)
    utterance_id = utterances.begin("one two three four")
    utterances.add(bytes(2 * ONE_SECOND), 0.0)
    utterances.sent(utterance_id, ONE_SECOND, 0.0)
    utterances.played(utterance_id, 1900, is_complete=False, now=0.4)
    assert utterances.interrupt(0.5) == (1000, (Cut(utterance_id, "one two", 1000),))


def test_audio_that_is_not_said_again_counts_as_said():
    utterances = Utterances(AUDIO)
    utterance_id = utterances.begin("one two three four", skipped_ms=500)
    pcm = utterances.add(bytes(ONE_SECOND), 0.0)
    assert len(pcm) == ONE_SECOND // 2
    utterances.sent(utterance_id, len(pcm), 0.0)
    utterances.played(utterance_id, 250, is_complete=False, now=0.4)
    assert utterances.interrupt(0.5) == (250, (Cut(utterance_id, "one two three", 750),))


def test_a_late_report_about_an_earlier_utterance_still_says_what_was_played():
    utterances = Utterances(AUDIO)
    first, second = spoken(utterances, "a b", 1), spoken(utterances, "c d", 1)
    utterances.played(second, 0, is_complete=False, now=1.0)
    utterances.played(first, 500, is_complete=False, now=1.1)
    assert utterances.interrupt(1.2) == (0, (Cut(first, "a", 500), Cut(second, "", 0)))


def test_an_utterance_that_was_played_to_its_end_is_returned_once():
    utterances = Utterances(AUDIO)
    utterance_id = spoken(utterances, "a b", 1)
    utterances.end()
    assert utterances.played(utterance_id, 500, is_complete=False, now=0.5) is None
    assert utterances.played(utterance_id, 1000, is_complete=True, now=1.0) == WholePlayback("a b", 1000)
    assert utterances.played(utterance_id, 1000, is_complete=True, now=1.1) is None


def test_what_was_played_before_it_was_said_again_counts_as_played():
    utterances = Utterances(AUDIO)
    utterance_id = utterances.begin("a b", skipped_ms=500)
    pcm = utterances.add(bytes(ONE_SECOND), 0.0)
    utterances.sent(utterance_id, len(pcm), 0.0)
    utterances.end()
    assert utterances.played(utterance_id, 500, is_complete=True, now=1.0) == WholePlayback("a b", 1000)


def test_the_position_is_that_of_the_oldest_utterance_with_what_is_skipped_of_it():
    utterances = Utterances(AUDIO)
    first = utterances.begin("a b", skipped_ms=500)
    utterances.sent(first, len(utterances.add(bytes(2 * ONE_SECOND), 0.0)), 0.0)
    utterances.end()
    second = spoken(utterances, "c d", 1)
    utterances.played(first, 200, is_complete=False, now=0.2)
    assert utterances.oldest_played_ms(first) == 700
    assert utterances.oldest_played_ms(second) is None
    utterances.played(first, 1500, is_complete=True, now=1.5)
    assert utterances.oldest_played_ms(second) == 0


def test_what_the_caller_had_played_when_the_connection_was_lost_is_told_once():
    utterances = Utterances(AUDIO)
    first, second = spoken(utterances, "a b", 1), spoken(utterances, "c d", 1)
    utterances.hold()
    assert second == first + 1
    assert utterances.held.recovered(second) == (WholePlayback("a b", 1000),)
    assert utterances.held.recovered(second) == ()


def test_what_is_held_goes_on_from_where_the_caller_is_while_it_is_made():
    utterances = Utterances(AUDIO)
    audio = bytes(range(200)) * (2 * ONE_SECOND // 200)
    first = utterances.begin("a b")
    utterances.sent(first, len(utterances.add(audio[:ONE_SECOND], 0.0)), 0.0)
    utterances.played(first, 300, is_complete=False, now=0.4)
    utterances.hold()
    assert utterances.add(audio[ONE_SECOND:], 0.5) == b"", "the caller is away"
    (rest,) = utterances.go_on(first, 500, 1.0)
    assert (rest.former_id, rest.utterance_id, rest.skipped_ms, rest.is_ended) == (first, first + 1, 500, False)
    assert rest.pcm == audio[ONE_SECOND // 2 :]
    assert utterances.add(b"next", 1.1) == b"next"
    assert utterances.end() == first + 1


def test_what_the_caller_cut_off_while_it_was_away_does_not_go_on():
    utterances = Utterances(AUDIO)
    first = spoken(utterances, "a b", 1)
    utterances.played(first, 500, is_complete=False, now=0.5)
    utterances.hold()
    assert utterances.interrupt(1.0) == (500, (Cut(first, "a", 500, is_held=True),))
    assert not utterances.held.ids
    assert utterances.add(b"late", 1.1) == b""


def test_of_a_caller_that_never_reports_only_the_newest_minute_is_held():
    utterances = Utterances(AUDIO)
    first = utterances.begin("a b")
    for second in range(100):
        utterances.sent(first, len(utterances.add(bytes(ONE_SECOND), second)), second)
    utterances.hold()
    (rest,) = utterances.go_on(first, 0, 100.0)
    assert (len(rest.pcm), rest.skipped_ms) == (60 * ONE_SECOND, 40_000)
