"""Finds many keys at once: a dictionary whose keys are a few 64-bit words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np

from quiclb.datapath.linux.batches import Integers, Words

MISSING = -1
"""What `WordIndex.find` gives for a key it does not hold; numpy has no `None`."""


class WordIndex:
    """Maps each of `keys` to the integer at its place in `values`; every key has `width` words."""

    def __init__(self, keys: Sequence[tuple[int, ...]], values: Sequence[int], width: int) -> None:
        self._columns = [np.array([key[column] for key in keys], np.uint64) for column in range(width)]
        self._values = np.array(values, np.int64)
        for self._multiplier in map(_multiplier, count()):
            folded = self._fold(self._columns)
            order = np.argsort(folded)
            self._folded = folded[order]
            if not (self._folded[1:] == self._folded[:-1]).any():
                break
        self._columns = [column[order] for column in self._columns]
        self._values = self._values[order]

    def find(self, *columns: Words) -> Integers:
        """The value of each row's key, or `MISSING`."""
        if not len(self._values):
            return np.full(len(columns[0]), MISSING)
        places = self._folded.searchsorted(self._fold(columns))
        np.minimum(places, len(self._values) - 1, out=places)
        is_found = self._columns[0][places] == columns[0]
        for ours, theirs in zip(self._columns[1:], columns[1:], strict=True):
            is_found &= ours[places] == theirs
        found = self._values[places]
        return found if np.count_nonzero(is_found) == len(found) else np.where(is_found, found, MISSING)

    def _fold(self, columns: Sequence[Words]) -> Words:
        folded = columns[0]
        for column in columns[1:]:
            folded = folded * self._multiplier + column
        return folded


def _multiplier(attempt: int) -> np.uint64:
    return np.uint64((0x9E3779B97F4A7C15 + 2 * attempt * 0x632BE59BD9B4E019) % 2**64)
