"""How many words of the recording are wrong after each call."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.uplink.outcome import Outcome
from bench.uplink.spoken.playout import decoded_with_fec
from bench.uplink.spoken.recogniser import Sound, scores
from bench.uplink.spoken.recording import Passage
from bench.words.paths import decoded
from bench.words.score import Score, total

JITTER_BUFFER_MS: Final = 200.0
"""What a frame of a way without order may be late by; one that is later is concealed."""

Key = tuple[str, str]
"""Condition and way."""


@dataclass(frozen=True, slots=True)
class Words:
    """The score of what was played, and of all that came, however late."""

    played: Score
    whole: Score


def sound_of(passage: Passage, outcome: Outcome, limit_ms: float) -> Sound:
    """What a call leaves of an order, where frames that are later than the limit are concealed."""
    numbers = outcome.within(limit_ms)
    if not outcome.packets:
        return Sound(passage.text, tuple(decoded(passage.arrived(numbers))))
    own = {n - passage.start: outcome.packets[n] for n in numbers}
    return Sound(passage.text, tuple(decoded_with_fec(own, passage.length)))


def words_of(
    calls: Mapping[Key, Sequence[Outcome]], limits_ms: Mapping[Key, float], recordings: Sequence[Sequence[Passage]]
) -> dict[Key, Words]:
    """The words of each way's calls, which say one recording each; `limits_ms` has infinity where a way waits."""
    played = {key: list(_sounds(each, limits_ms[key], recordings)) for key, each in calls.items()}
    whole = {key: list(_sounds(each, math.inf, recordings)) for key, each in calls.items()}
    found = scores(sound for sounds in (*played.values(), *whole.values()) for sound in sounds)
    return {
        key: Words(total(found[each] for each in played[key]), total(found[each] for each in whole[key]))
        for key in calls
    }


def _sounds(outcomes: Sequence[Outcome], limit_ms: float, recordings: Sequence[Sequence[Passage]]) -> Iterator[Sound]:
    for outcome, passages in zip(outcomes, recordings, strict=True):
        for passage in passages:
            yield sound_of(passage, outcome, limit_ms)
