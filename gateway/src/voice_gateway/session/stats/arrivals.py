"""When a session's newest uplink frames arrived, and how much later than the fastest of them, sans-IO."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Final

_KEPT: Final = 512
_WINDOW_S: Final = 30.0
_MAX_QUEUEING_MS: Final = 3_600_000.0
"""The largest figure of the protocol: timestamps are the caller's, and may say anything."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame arrived `at`, `gap_s` after the one before, and `queueing_ms` later than the fastest frame of late.

    The excess compares two frames of one sender, so that the offset between its clock and ours does not matter. *Of
    late* is the last 30 to 60 s, so that their drift does not matter either.
    """

    sequence: int
    at: float
    gap_s: float
    queueing_ms: float


class Arrivals:
    """Remembers the last 512 frames, in 8 KB; `note` costs less than a microsecond.

    Sequence numbers follow one another. Where they begin again, as the caller says half an utterance anew, what was
    remembered is forgotten.
    """

    __slots__ = (
        "_ats",
        "_fastest_ms",
        "_first_transit_ms",
        "_former_fastest_ms",
        "_gaps_s",
        "_next_sequence",
        "_noted",
        "_transits_ms",
        "_window_began",
    )

    def __init__(self) -> None:
        # columns of a ring: as tuples of numbers the frames would take 100 KB of each session
        self._ats = array("d")
        # of single precision, which is a microsecond at eight seconds: the transit is counted from the first one
        self._gaps_s, self._transits_ms = array("f"), array("f")
        self._first_transit_ms: float | None = None
        self._next_sequence = 0
        self._noted = 0
        self._fastest_ms = self._former_fastest_ms = float("inf")
        self._window_began = 0.0

    def note(self, sequence: int, at: float, gap_s: float, transit_ms: float) -> None:
        """A frame arrived, `transit_ms` after its media time, by any clock that does not change."""
        if self._first_transit_ms is None:
            self._first_transit_ms = transit_ms
        transit_ms -= self._first_transit_ms
        if sequence != self._next_sequence:
            self._forget()
        self._next_sequence = sequence + 1
        if at - self._window_began > _WINDOW_S:
            self._window_began = at
            self._former_fastest_ms, self._fastest_ms = self._fastest_ms, transit_ms
        elif transit_ms < self._fastest_ms:
            self._fastest_ms = transit_ms
        index = self._noted % _KEPT
        self._noted += 1
        if index == len(self._ats):
            self._ats.append(at)
            self._gaps_s.append(gap_s)
            self._transits_ms.append(transit_ms)
        else:
            self._ats[index] = at
            self._gaps_s[index] = gap_s
            self._transits_ms[index] = transit_ms

    def of(self, sequence: int) -> Arrival | None:
        """Look a frame up; `None` if it did not arrive, or too long ago."""
        later = self._next_sequence - sequence
        if not 0 < later <= len(self._ats):
            return None
        index = (self._noted - later) % _KEPT
        fastest_ms = min(self._fastest_ms, self._former_fastest_ms)
        queueing_ms = min(max(0.0, self._transits_ms[index] - fastest_ms), _MAX_QUEUEING_MS)
        return Arrival(sequence, self._ats[index], self._gaps_s[index], queueing_ms)

    def largest_gap_s(self, since: float) -> float:
        """The longest wait for a frame, of those that arrived since then."""
        recent = (gap_s for at, gap_s in zip(self._ats, self._gaps_s, strict=True) if at >= since)
        return max(recent, default=0.0)

    def _forget(self) -> None:
        self._noted = 0
        for column in (self._ats, self._gaps_s, self._transits_ms):
            del column[:]
