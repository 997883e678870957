"""What a session knows about the arrival of its caller's audio: gaps between frames, and lateness."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

from voice_gateway.session.stats.arrivals import Arrivals
from voicelink.audio.frames import FRAME_TICKS
from voicelink.wire import CLOCK_HZ

LARGEST_GAPS = 16
_EARLIEST_MS, _LATEST_MS = -2_000, 8_000


@dataclass(frozen=True, slots=True)
class UplinkSummary:
    """The figures so far; a percentile is `None` before the first frame.

    `largest_gaps` holds (sequence of the later frame, time since the one before it in ms), largest first; a pause that
    the media timestamps show is not counted, as discontinuous transmission is no outage. Lateness is the time a frame
    arrived after its media timestamp, less that of the frame that travelled fastest; it is counted in whole
    milliseconds and from -2 s to 8 s around the first frame's.
    """

    frames: int
    duplicates: int
    byte_count: int
    largest_gaps: tuple[tuple[int, float], ...]
    lateness_p50_ms: int | None
    lateness_p99_ms: int | None


class UplinkStatistics:
    """Counts frames in constant memory; `arrived` costs about a microsecond.

    It is as exact as the clock behind `now`: uvloop's counts milliseconds.
    """

    __slots__ = (
        "_first_transit_ms",
        "_gaps",
        "_last_arrival",
        "_last_timestamp",
        "_smallest_gap",
        "_transits",
        "arrivals",
        "byte_count",
        "duplicates",
        "frames",
        "last_gap_s",
    )

    def __init__(self) -> None:
        self.arrivals = Arrivals()
        self.frames = 0
        self.duplicates = 0
        self.byte_count = 0
        self.last_gap_s = 0.0
        """The gap before the newest frame."""
        self._last_arrival = 0.0
        self._last_timestamp = 0
        self._smallest_gap = 0.0
        self._gaps: list[tuple[float, int]] = []
        self._first_transit_ms = 0.0
        self._transits: dict[int, int] = {}

    def arrived(self, sequence: int, timestamp: int, byte_count: int, now: float) -> None:
        """Count a new frame that arrived at `now`."""
        transit_ms = now * 1e3 - timestamp * _MS_PER_TICK
        if self.frames == 0:
            self._first_transit_ms = transit_ms
        else:
            pause = timestamp - self._last_timestamp - FRAME_TICKS
            gap = now - self._last_arrival - (pause / CLOCK_HZ if pause > 0 else 0.0)
            self.last_gap_s = gap if gap > 0.0 else 0.0
            if gap > self._smallest_gap:
                self._keep(gap, sequence)
        self.arrivals.note(sequence, now, self.last_gap_s, transit_ms)
        self.frames += 1
        self.byte_count += byte_count
        self._last_arrival = now
        self._last_timestamp = timestamp
        offset = math.floor(transit_ms - self._first_transit_ms + 0.5)
        if offset > _LATEST_MS:
            offset = _LATEST_MS
        elif offset < _EARLIEST_MS:
            offset = _EARLIEST_MS
        self._transits[offset] = self._transits.get(offset, 0) + 1

    def summary(self) -> UplinkSummary:
        """Sum up; costs a sort of the distinct milliseconds seen."""
        ordered = sorted(self._transits.items())
        return UplinkSummary(
            frames=self.frames,
            duplicates=self.duplicates,
            byte_count=self.byte_count,
            largest_gaps=tuple((sequence, round(gap * 1e3, 3)) for gap, sequence in sorted(self._gaps, reverse=True)),
            lateness_p50_ms=_percentile(ordered, self.frames, 0.50),
            lateness_p99_ms=_percentile(ordered, self.frames, 0.99),
        )

    def _keep(self, gap: float, sequence: int) -> None:
        if len(self._gaps) < LARGEST_GAPS:
            heapq.heappush(self._gaps, (gap, sequence))
        else:
            heapq.heapreplace(self._gaps, (gap, sequence))
        if len(self._gaps) == LARGEST_GAPS:
            self._smallest_gap = self._gaps[0][0]


_MS_PER_TICK = 1e3 / CLOCK_HZ


def _percentile(ordered: list[tuple[int, int]], total: int, share: float) -> int | None:
    rank = math.ceil(total * share)
    for offset, count in ordered:
        rank -= count
        if rank <= 0:
            return offset - ordered[0][0]
    return None
