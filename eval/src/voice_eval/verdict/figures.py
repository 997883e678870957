"""Times of a call from its record: answers, barge-ins, silence within answers. Sans-IO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from voice_eval.call.record import CallRecord

_SHORTEST_SILENCE_S = 0.06
_CUT_IN_S = 0.2


@dataclass(frozen=True, slots=True)
class Figures:
    """All in ms. `answers_ms` has `None` for an utterance that was never answered."""

    answers_ms: tuple[float | None, ...]
    barge_ins_ms: tuple[float, ...]
    silences_ms: tuple[float, ...]
    played_ms: float
    duration_ms: float

    @property
    def silence_ms(self) -> float:
        return sum(self.silences_ms)


def measure(record: CallRecord) -> Figures:
    """Measure a call."""
    answers: list[float | None] = []
    for utterance, after in zip_longest(record.utterances, record.utterances[1:]):
        at_s = record.played_audio.loud_from(utterance.end_s)
        if after is not None and at_s is not None and at_s >= after.begin_s:
            at_s = None
        is_cut_off = after is not None and after.is_barge_in and at_s is None
        if not is_cut_off:
            answers.append(None if at_s is None else round((at_s - utterance.end_s) * 1000, 1))
    heard = sum(len(pcm) / 2 / record.played_audio.rate_hz for _, pcm in record.played_audio.pieces)
    return Figures(
        tuple(answers),
        tuple(_barge_ins(record)),
        tuple(_silences(record)),
        round(heard * 1000, 1),
        round(record.duration_s * 1000, 1),
    )


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that this share of the values does not exceed; `None` without values."""
    ordered = sorted(values)
    return ordered[max(0, -(-round(len(ordered) * share * 1000) // 1000) - 1)] if ordered else None


def _barge_ins(record: CallRecord) -> list[float]:
    """How long the agent spoke on after the caller had begun to interrupt."""
    found = []
    for utterance in record.utterances:
        if utterance.is_barge_in:
            over = [end for begin, end in record.played_audio.sounds() if begin <= utterance.begin_s < end]
            if over:
                found.append(round((over[0] - utterance.begin_s) * 1000, 1))
    return found


def _silences(record: CallRecord) -> list[float]:
    """Where the loudspeaker ran dry within an answer: between two sounds with no word of the caller between them."""
    found = []
    for (_, end_s), (begin_s, _) in pairwise(record.played_audio.sounds(_SHORTEST_SILENCE_S)):
        # an answer goes on if the caller neither ended nor began to speak in between
        is_parted = any(
            end_s - _CUT_IN_S <= each.end_s <= begin_s or end_s - _CUT_IN_S <= each.begin_s <= begin_s
            for each in record.utterances
        )
        if not is_parted:
            found.append(round((begin_s - end_s) * 1000, 1))
    return found
