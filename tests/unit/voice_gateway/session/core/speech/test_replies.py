from __future__ import annotations

import pytest

from voice_gateway.session.core.speech.agent_audio import AgentAudio
from voice_gateway.session.core.speech.replies import Cut, Replies

RATE = 24_000
AUDIO = AgentAudio(RATE, RATE)
ONE_SECOND = RATE * 2


def spoken(replies, text, seconds, now=0.0):
    utterance_id = replies.begin(text)
    replies.add(bytes(int(seconds * ONE_SECOND)), now)
    replies.end()
    return utterance_id


def test_generations_count_from_one():
    replies = Replies(AUDIO)
    assert [spoken(replies, "hi", 1), spoken(replies, "hi", 1)] == [1, 2]


def test_a_reply_is_outstanding_until_it_was_played_to_its_end():
    replies = Replies(AUDIO)
    utterance_id = spoken(replies, "hello there", 1)
    replies.played(utterance_id, 400, is_complete=False)
    assert replies.has_outstanding
    replies.played(utterance_id, 1000, is_complete=True)
    assert not replies.has_outstanding
    assert replies.interrupt(5.0) is None


def test_a_reply_that_is_still_being_made_cannot_be_complete():
    replies = Replies(AUDIO)
    utterance_id = replies.begin("hello")
    replies.played(utterance_id, 0, is_complete=True)
    assert replies.has_outstanding


@pytest.mark.parametrize(("played_ms", "said"), [(0, ""), (500, "one two"), (1000, "one two three four")])
def test_an_interruption_keeps_the_words_that_were_played(played_ms, said):
    replies = Replies(AUDIO)
    utterance_id = spoken(replies, "one two three four", 1)
    replies.played(utterance_id, played_ms, is_complete=False)
    assert replies.interrupt(0.5) == (played_ms, (Cut(utterance_id, said),))


def test_an_interruption_cuts_all_that_is_outstanding_and_reports_the_newest():
    replies = Replies(AUDIO)
    first, second = spoken(replies, "a b", 1), spoken(replies, "c d", 1)
    replies.played(first, 500, is_complete=False)
    assert replies.interrupt(0.5) == (0, (Cut(first, "a"), Cut(second, "")))


def test_reports_of_old_and_of_unknown_generations_say_nothing():
    replies = Replies(AUDIO)
    first = spoken(replies, "a b", 1)
    replies.interrupt(0.5)
    second = spoken(replies, "c d", 1)
    replies.played(first, 900, is_complete=True)
    replies.played(77, 900, is_complete=True)
    assert replies.interrupt(0.6) == (0, (Cut(second, ""),))


def test_a_report_never_goes_back():
    replies = Replies(AUDIO)
    utterance_id = spoken(replies, "a b", 1)
    replies.played(utterance_id, 600, is_complete=False)
    replies.played(utterance_id, 200, is_complete=False)
    assert replies.interrupt(1.0)[0] == 600


def test_playout_is_reckoned_from_when_audio_was_made():
    replies = Replies(AUDIO)
    spoken(replies, "a", 2, now=10.0)
    assert replies.speech_until == 12.0
    spoken(replies, "b", 1, now=10.5)
    assert replies.speech_until == 13.0
    spoken(replies, "c", 1, now=20.0)
    assert replies.speech_until == 21.0


def test_a_caller_who_never_reports_costs_bounded_memory():
    replies = Replies(AUDIO)
    for _ in range(1000):
        spoken(replies, "a", 0.1)
    assert len(replies.interrupt(0.0)[1]) == 64


def test_no_more_is_played_than_was_made():
    replies = Replies(AUDIO)
    utterance_id = spoken(replies, "a b", 1)
    replies.played(utterance_id, 2**62 - 1, is_complete=False)
    assert replies.interrupt(1.0) == (1000, (Cut(utterance_id, "a b"),))
