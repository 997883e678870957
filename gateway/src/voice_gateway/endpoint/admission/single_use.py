"""Remembers what was used, so that it counts once. Sans-IO."""

from __future__ import annotations

from typing import Final

DEFAULT_CAPACITY: Final = 1 << 16


class SingleUse:
    """Of things that live for `lifetime_s`. With `capacity` things in memory nothing new is taken until some expire."""

    def __init__(self, lifetime_s: float, capacity: int = DEFAULT_CAPACITY) -> None:
        self._lifetime_s = lifetime_s
        self._capacity = capacity
        self._forget_at: dict[bytes, float] = {}

    def take(self, thing: bytes, now: float) -> bool:
        """Whether this is the first time; False, too, where that cannot be remembered."""
        self._forget(now)
        if thing in self._forget_at or len(self._forget_at) >= self._capacity:
            return False
        self._forget_at[thing] = now + self._lifetime_s
        return True

    def _forget(self, now: float) -> None:
        while self._forget_at:
            oldest = next(iter(self._forget_at))
            if self._forget_at[oldest] > now:
                return
            del self._forget_at[oldest]
