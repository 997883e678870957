"""Token buckets by key, in bounded memory. Sans-IO."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

MOST_KEYS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_s` in the long run, `burst` at once."""

    per_s: float
    burst: float


class Buckets:
    """One bucket for each key, full at first.

    Beyond `most_keys` the bucket that was used longest ago is forgotten, which gives its owner a full one: whoever can
    use that many addresses needs no second helping from one of them.
    """

    def __init__(self, rate: Rate, most_keys: int = MOST_KEYS) -> None:
        self._rate = rate
        self._most_keys = most_keys
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, key: Hashable, amount: float, now: float) -> float:
        """Take `amount` and return 0; or take nothing and return the seconds until there is enough.

        What is more than a bucket can hold is given by a full one, which then owes the rest.
        """
        rate, levels = self._rate, self._levels
        level = self._level(key, now)
        missing = min(amount, rate.burst) - level
        levels[key] = (level if missing > 0 else level - amount, now)
        levels.move_to_end(key)
        if len(levels) > self._most_keys:
            levels.popitem(last=False)
        return max(0.0, missing / rate.per_s)

    def wait_s(self, key: Hashable, amount: float, now: float) -> float:
        """Return what `take` would, and take nothing."""
        return max(0.0, (min(amount, self._rate.burst) - self._level(key, now)) / self._rate.per_s)

    def _level(self, key: Hashable, now: float) -> float:
        level, at = self._levels.get(key, (self._rate.burst, now))
        return min(self._rate.burst, level + (now - at) * self._rate.per_s)
