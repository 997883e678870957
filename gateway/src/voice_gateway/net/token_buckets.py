"""Token buckets by key, in bounded memory. Sans-IO."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from voicelink.net.token_bucket import TokenBucket

MOST_KEYS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_s` in the long run, `burst` at once."""

    per_s: float
    burst: float


class Buckets:
    """One bucket for each key, full at first.

    Beyond `most_keys` the bucket that was used longest ago is forgotten, which gives its owner a full one: an owner of
    that many addresses gains nothing from one of them.
    """

    def __init__(self, rate: Rate, most_keys: int = MOST_KEYS) -> None:
        self._rate = rate
        self._most_keys = most_keys
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable, amount: float, now: float) -> float:
        """Claim `amount` of the key's bucket, as `TokenBucket.claim` does."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate.per_s, self._rate.burst, now)
            if len(self._buckets) > self._most_keys:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket.claim(amount, now)

    def wait_s(self, key: Hashable, amount: float, now: float) -> float:
        """Return what `take` would, and take nothing."""
        bucket = self._buckets.get(key)
        return 0.0 if bucket is None else bucket.wait_s(amount, now)
