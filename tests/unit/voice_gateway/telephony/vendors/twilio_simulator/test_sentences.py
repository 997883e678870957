from __future__ import annotations

from voice_gateway.telephony.vendors.twilio_simulator.sentences import Sentence, begin_again, sentences

LOUD, QUIET = b"\x00", b"\xff"
SECOND = 8_000


def test_long_pauses_part_sentences_and_short_ones_do_not() -> None:
    speech = QUIET * SECOND + LOUD * SECOND + QUIET * 4_000 + LOUD * SECOND + QUIET * SECOND + LOUD * SECOND
    assert sentences(speech) == (Sentence(8_000, 28_000), Sentence(36_000, 44_000))
    assert sentences(QUIET * SECOND) == ()


def test_the_sentence_that_was_cut_off_is_said_again_from_its_start() -> None:
    said = (Sentence(8_000, 28_000), Sentence(56_000, 64_000))
    assert begin_again(said, 20_000) == 6_400
    assert begin_again(said, 30_000) == 6_400
    assert begin_again(said, 60_000) == 54_400
    assert begin_again(said, 4_000) == 4_000


def test_what_was_said_long_before_is_not_said_again() -> None:
    said = (Sentence(8_000, 28_000), Sentence(56_000, 64_000))
    assert begin_again(said, 41_000) == 40_960
    assert begin_again(said, 80_000) == 80_000
