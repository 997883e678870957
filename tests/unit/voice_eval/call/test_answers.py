"""Which sound of an endless track belongs to answers."""

from __future__ import annotations

import numpy as np

from voice_eval.call.answers import AnswersOfTrack

RATE_HZ = 24_000
SILENCE = bytes(RATE_HZ // 50 * 2)
SOUND = np.full(RATE_HZ // 50, 1_000, "<i2").tobytes()


def included(pieces: list[bytes]) -> list[bool]:
    answers = AnswersOfTrack(RATE_HZ)
    return [answers.includes(each) for each in pieces]


def test_silence_before_the_first_answer_belongs_to_none() -> None:
    assert included([SILENCE, SILENCE, SOUND]) == [False, False, True]


def test_a_pause_within_an_answer_belongs_to_it() -> None:
    assert all(included([SOUND, *[SILENCE] * 30, SOUND]))


def test_an_answer_ends_after_700_ms_of_silence() -> None:
    found = included([SOUND, *[SILENCE] * 100])
    assert sum(found) == 35
    assert found == [True] * 35 + [False] * 66
