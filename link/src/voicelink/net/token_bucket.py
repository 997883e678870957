"""Rate limiting by token bucket, sans-IO."""

from __future__ import annotations

import math


class TokenBucket:
    """Gains `per_s` tokens up to `burst`, with which it begins; a token is a byte, a frame, or a unit of work.

    Times are seconds of any one clock. `now` is when the bucket is full; without it, it is full at its first use.
    """

    __slots__ = ("_at", "_burst", "_level", "_per_s")

    def __init__(self, per_s: float, burst: float, now: float = -math.inf) -> None:
        self._per_s = per_s
        self._burst = burst
        self._level = burst
        self._at = now

    def level(self, now: float) -> float:
        """Return the tokens left; below zero, those owed."""
        if now > self._at:
            self._level = min(self._burst, self._level + (now - self._at) * self._per_s)
            self._at = now
        return self._level

    def take(self, amount: float, now: float) -> bool:
        """Take `amount` if it is there; otherwise nothing."""
        if self.level(now) < amount:
            return False
        self._level -= amount
        return True

    def wait_s(self, amount: float, now: float) -> float:
        """Return the seconds until `amount` is there, or a full bucket if that is less; 0 where it is there now."""
        return max(0.0, (min(amount, self._burst) - self.level(now)) / self._per_s)

    def claim(self, amount: float, now: float) -> float:
        """Take `amount` and return 0; or take nothing and return the seconds until there is enough.

        What is more than a bucket can hold is given by a full one, which then owes the rest.
        """
        level, burst = self._level, self._burst
        elapsed = now - self._at
        if elapsed > 0:
            self._at = now
            level += elapsed * self._per_s
            if level > burst:
                level = burst
        if level < amount and level < burst:
            self._level = level
            return (min(amount, burst) - level) / self._per_s
        self._level = level - amount
        return 0.0

    def charge(self, amount: float) -> None:
        """Take `amount`; what is not there is owed."""
        self._level -= amount

    def drain(self, amount: float, now: float) -> None:
        """Take `amount`; what is not there is not owed."""
        self._level = max(0.0, self.level(now) - amount)

    def ready_at(self, amount: float) -> float:
        """Return when `amount` will be there, or a full bucket if that is less; after a call with a time."""
        missing = min(amount + 1, self._burst) - self._level  # one more, for rounding
        return self._at + max(0.0, missing) / self._per_s
