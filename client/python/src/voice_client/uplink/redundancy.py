"""How often a frame is repeated, and how much later, by the measured loss and what the path carries. Sans-IO."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from voice_client.uplink.repeat_limit import RepeatLimit, SustainedLoss

_INITIALLY_WANTED: Final = 2
THRESHOLDS: Final = (0.002, 0.0045, 0.027)
"""The highest loss at which 0, 1 and 2 repeats do: what is then lost with all its copies is about 1 frame in 50,000."""
FARTHEST: Final = 8
_WINDOW: Final = 250
_LEAST: Final = 50
_BURSTS: Final = 16
_HOLD_S: Final = 2.0


class Redundancy:
    """The repeats that are `wanted` by the loss rise at once, and fall by one at most in 2 s; `limit` caps them."""

    def __init__(self) -> None:
        self.limit = RepeatLimit()
        self.wanted = _INITIALLY_WANTED
        self.loss = 0.0
        """Of the last datagrams, 250 at most, with half of one for uncertainty."""
        self._counts: deque[tuple[int, int]] = deque([(0, 0)])
        self._bursts: deque[int] = deque(maxlen=_BURSTS)
        self._may_fall_at: float | None = None

    @property
    def repeats(self) -> int:
        return min(self.wanted, self.limit.repeats)

    @property
    def distances(self) -> tuple[int, ...]:
        """How many datagrams after its own a frame is repeated: the third time beyond a burst of loss as they come."""
        burst = math.ceil(sum(self._bursts) / len(self._bursts)) if self._bursts else 0
        return (1, 2, max(3, burst))[: self.repeats]

    def path_changed(self, now: float) -> None:
        """From now on datagrams take another path: learn anew what it carries, and expect losses."""
        self.limit = RepeatLimit(SustainedLoss(*self._counts[-1]), now)
        self.wanted = max(self.wanted, _INITIALLY_WANTED)
        self._may_fall_at = now + _HOLD_S

    def observe(self, sent: int, received: int, rtt_s: float, now: float) -> None:
        """Of the first `sent` datagrams, `received` have arrived, the last one after `rtt_s` there and back."""
        burst = (sent - self._counts[-1][0]) - (received - self._counts[-1][1])
        if burst > 0:
            self._bursts.append(min(burst, FARTHEST))
        self._counts.append((sent, received))
        while len(self._counts) > 2 and self._counts[1][0] <= sent - _WINDOW:
            self._counts.popleft()
        before, arrived = self._counts[0]
        lost = max(0, (sent - before) - (received - arrived))
        self.loss = (lost + 0.5) / max(sent - before, _LEAST)
        wanted = sum(self.loss > threshold for threshold in THRESHOLDS)
        if self._may_fall_at is None or wanted > self.wanted:
            self._may_fall_at = now + _HOLD_S
            self.wanted = max(self.wanted, wanted)
        elif wanted < self.wanted and now >= self._may_fall_at:
            self._may_fall_at = now + _HOLD_S
            self.wanted -= 1
        self.limit.observe(sent, received, rtt_s, self.wanted, now)
