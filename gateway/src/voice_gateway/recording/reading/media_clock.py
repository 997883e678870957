"""When on the caller's media clock something happened that a worker saw on its own. Sans-IO.

A frame cannot be sent before its last sample was captured, so the frames that came fastest tell how the clocks stand.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voicelink.wire import CLOCK_HZ

WINDOW_US: Final = 15_000_000
"""How far before and after an instant frames tell how the clocks stand; two clocks drift by 1.5 ms in it at most."""
_TICKS_PER_US: Final = CLOCK_HZ / 1e6


@dataclass(frozen=True, slots=True)
class Arrived:
    """A frame whose last sample is at `end` of the media clock, in ticks, arrived at `at_us` of a worker's clock."""

    at_us: int
    end: int


class MediaClock:
    """Turns instants of one worker's clock into ticks of the caller's."""

    def __init__(self, arrivals: Iterable[Arrived]) -> None:
        ordered = sorted(arrivals, key=lambda arrived: arrived.at_us)
        self._at_us = [arrived.at_us for arrived in ordered]
        offsets = [arrived.at_us - arrived.end / _TICKS_PER_US for arrived in ordered]
        self._offsets_us: NDArray[np.float64] = np.array(offsets, np.float64)

    @property
    def is_known(self) -> bool:
        """Whether any frame arrived at all."""
        return bool(self._at_us)

    def tick(self, at_us: int) -> int:
        """Return where the media clock stood; only where it `is_known`."""
        begin = bisect_left(self._at_us, at_us - WINDOW_US)
        end = bisect_right(self._at_us, at_us + WINDOW_US)
        if begin == end:  # far from every frame: the nearest ones
            begin, end = max(0, begin - 50), min(len(self._at_us), end + 50)
        return round((at_us - float(self._offsets_us[begin:end].min())) * _TICKS_PER_US)
