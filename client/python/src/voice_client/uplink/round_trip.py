"""The round trip of datagrams, by what the other side reports of them. Sans-IO."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

_INITIAL_TIMEOUT_S: Final = 0.5
_REPORT_DELAY_S: Final = 0.060


class RoundTrip:
    """Smoothed as RFC 9002 section 5.3 does it."""

    def __init__(self) -> None:
        self._smoothed_s: float | None = None
        self._deviation_s = 0.0
        self._sent_at: deque[float] = deque()
        self._oldest = 0
        self._path_since = -math.inf

    @property
    def oldest_unreported_at(self) -> float | None:
        """When the datagram behind the newest reported one was sent; `None` if there is none."""
        return self._sent_at[0] if self._sent_at else None

    @property
    def report_timeout_s(self) -> float:
        """How long a report may take to come."""
        if self._smoothed_s is None:
            return _INITIAL_TIMEOUT_S
        return self._smoothed_s + 4 * self._deviation_s + _REPORT_DELAY_S

    def sent(self, number: int, now: float) -> None:
        """Datagrams are numbered without gaps."""
        if not self._sent_at:
            self._oldest = number
        self._sent_at.append(now)

    def path_changed(self, now: float) -> None:
        """Measure anew, by what is sent from now on (RFC 9000 section 9.4)."""
        self._path_since, self._smoothed_s = now, None

    def reported(self, newest: int, held_ms: int, now: float) -> float | None:
        """Of all reported datagrams this is the newest; returns its round trip in s.

        `None` where it is not new, or took the path before.
        """
        if newest < self._oldest or not self._sent_at:
            return None
        for _ in range(newest - self._oldest + 1):
            sent_at = self._sent_at.popleft()
        self._oldest = newest + 1
        if sent_at < self._path_since:
            return None
        sample_s = max(now - sent_at - held_ms / 1000, 0.0)
        if self._smoothed_s is None:
            self._smoothed_s, self._deviation_s = sample_s, sample_s / 2
        else:
            self._deviation_s += (abs(self._smoothed_s - sample_s) - self._deviation_s) / 4
            self._smoothed_s += (sample_s - self._smoothed_s) / 8
        return sample_s
