"""What the benchmark of pipelines counts."""

from __future__ import annotations

from bench.pipelines.ears import RATE_HZ, Ears
from bench.pipelines.rounds import counted
from bench.pipelines.words import ANSWER, SAID, SAID_GAP_S, SAID_WORD_S, VOCABULARY, recognised, sound, speech

HEARD = {"connected_ms": 1.0, "first_sound_ms": 2.0, "silence_ms": 3.0, "stopped_ms": 4.0, "first_words": ANSWER}


def test_every_word_is_told_from_the_others_at_both_rates() -> None:
    for rate_hz in (16_000, 24_000):
        pcm = speech(VOCABULARY, rate_hz, SAID_WORD_S, SAID_GAP_S)
        assert recognised(pcm, rate_hz, SAID_WORD_S) == list(VOCABULARY)


def test_a_word_counts_as_heard_where_half_of_it_came() -> None:
    most, little = sound("alpha", 16_000, 0.3)[: 16_000 // 5 * 2], sound("bravo", 16_000, 0.3)[: 16_000 // 10 * 2]
    assert recognised(most + bytes(3_200) + little, 16_000, 0.3) == ["alpha"]


def test_silence_is_what_lies_between_pieces_that_are_played() -> None:
    ears = Ears()
    word = sound("echo", RATE_HZ, 0.3)
    ears.play(10.0, word)
    ears.play(11.0, word)
    audible = ears.audible(9.0)
    came_s = sum(end - begin for begin, end in audible)
    assert audible[-1][1] - audible[0][0] - came_s > 0.69
    assert not ears.audible(12.0)


def test_words_are_counted_by_turn_and_against_what_was_heard() -> None:
    first, second, third = (" ".join(words) for words in SAID)
    context = [
        ("user", first),
        ("assistant", " ".join(ANSWER)),
        ("user", second.replace(SAID[1][3], "").replace(SAID[1][4], "")),
        ("assistant", " ".join(ANSWER)),
        ("user", third),
        ("assistant", " ".join(ANSWER[:6])),
        ("user", "xray yankee"),
        ("assistant", "zulu"),
    ]
    found = counted("moq", {**HEARD, "third_words": list(ANSWER[:4])}, context)
    assert (found.words_lost, found.lost_in_the_dark, found.in_context, found.not_played) == (2, 2, 6, 2)


def test_a_turn_that_never_came_is_lost_whole() -> None:
    found = counted("websocket", {**HEARD, "third_words": []}, [("user", " ".join(SAID[0]))])
    assert (found.words_lost, found.lost_in_the_dark) == (14, 8)
