"""When a session's newest uplink frames arrived, and how much later than the fastest of them, sans-IO."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

_KEPT: Final = 512
_WINDOW_S: Final = 30.0
_LARGEST_EXCESS_MS: Final = 3_600_000.0
"""The largest figure of the protocol: timestamps are the caller's, and may say anything."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame arrived `at`, `gap_s` after the one before, and `excess_ms` later than the fastest frame of late.

    The excess compares two frames of one sender, so that the offset between its clock and ours does not matter. *Of
    late* is the last 30 to 60 s, so that their drift does not matter either.
    """

    sequence: int
    at: float
    gap_s: float
    excess_ms: float


class Arrivals:
    """Remembers the last 512 frames; `note` costs less than a microsecond."""

    __slots__ = ("_fastest_ms", "_former_fastest_ms", "_frames", "_window_began")

    def __init__(self) -> None:
        self._frames: deque[tuple[int, float, float, float]] = deque(maxlen=_KEPT)
        self._fastest_ms = self._former_fastest_ms = float("inf")
        self._window_began = 0.0

    def note(self, sequence: int, at: float, gap_s: float, transit_ms: float) -> None:
        """A frame arrived, `transit_ms` after its media time, by any clock that does not change."""
        if at - self._window_began > _WINDOW_S:
            self._window_began = at
            self._former_fastest_ms, self._fastest_ms = self._fastest_ms, transit_ms
        elif transit_ms < self._fastest_ms:
            self._fastest_ms = transit_ms
        self._frames.append((sequence, at, gap_s, transit_ms))

    def of(self, sequence: int) -> Arrival | None:
        """Look a frame up; `None` if it did not arrive, or too long ago."""
        fastest_ms = min(self._fastest_ms, self._former_fastest_ms)
        for number, at, gap_s, transit_ms in reversed(self._frames):
            if number == sequence:
                return Arrival(number, at, gap_s, min(max(0.0, transit_ms - fastest_ms), _LARGEST_EXCESS_MS))
            if number < sequence:
                break
        return None

    def largest_gap_s(self, since: float) -> float:
        """The longest wait for a frame, of those that arrived since then."""
        return max((gap_s for _, at, gap_s, _ in self._frames if at >= since), default=0.0)
