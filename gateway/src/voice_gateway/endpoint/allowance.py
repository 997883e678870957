"""How often something may be done. Sans-IO."""

from __future__ import annotations


class Allowance:
    """Up to `per_s` times in each second, and as often in a burst."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._credit = per_s
        self._credit_at = 0.0

    def take(self, now: float) -> bool:
        """Whether it may be done once more."""
        self._credit = min(self._per_s, self._credit + (now - self._credit_at) * self._per_s)
        self._credit_at = now
        if self._credit < 1:
            return False
        self._credit -= 1
        return True
