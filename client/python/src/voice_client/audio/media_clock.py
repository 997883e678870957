"""The clock of the caller's audio: which timestamp belongs to an instant. Sans-IO."""

from __future__ import annotations

from collections import deque

from voicelink.wire import CLOCK_HZ

_WINDOW_S = 15.0
"""For how long a frame tells how the clocks stand; a sound card's drifts by 1.5 ms in it at most."""


class MediaClock:
    """Follows the frames that are sent: one cannot be captured before its last sample, so the fastest ones tell.

    Times are of one clock in seconds, timestamps in ticks of 48 kHz.
    """

    def __init__(self) -> None:
        self._offsets: deque[tuple[float, float]] = deque()
        """(when, seconds that the clock of the media is behind), each less behind than those after it."""

    def reset(self) -> None:
        """Forget the frames so far: the timestamps were set anew."""
        self._offsets.clear()

    def captured(self, end: int, at: float) -> None:
        """A frame whose last sample is at `end` was captured by `at`."""
        behind = at - end / CLOCK_HZ
        while self._offsets and self._offsets[-1][1] >= behind:
            self._offsets.pop()
        self._offsets.append((at, behind))
        while self._offsets[0][0] < at - _WINDOW_S:
            self._offsets.popleft()

    def timestamp(self, at: float) -> int | None:
        """Return the timestamp of an instant, `None` where no frame tells or it lies before the first one."""
        if not self._offsets:
            return None
        ticks = round((at - self._offsets[0][1]) * CLOCK_HZ)
        return ticks if ticks >= 0 else None
