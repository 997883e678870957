"""An allowance of octets that grows with time: a token bucket. Sans-IO."""

from __future__ import annotations


class Allowance:
    """Grows by `bits_per_s` up to `most_octets`, with which it begins."""

    def __init__(self, bits_per_s: float, most_octets: float, now: float) -> None:
        self._octets_per_s = bits_per_s / 8
        self._most_octets = most_octets
        self._octets = most_octets
        self._counted_at = now

    def left(self, now: float) -> float:
        """The octets that may be spent now."""
        if now > self._counted_at:
            self._octets = min(self._most_octets, self._octets + (now - self._counted_at) * self._octets_per_s)
            self._counted_at = now
        return self._octets

    def spend(self, octets: float, now: float) -> None:
        """Take what was used; what is not there is forgiven."""
        self._octets = max(0.0, self.left(now) - octets)

    def ready_at(self, octets: float) -> float:
        """When so much will be left; the most there ever is, if that is less."""
        missing = min(octets + 1, self._most_octets) - self._octets  # one more, for rounding
        return self._counted_at + max(0.0, missing) / self._octets_per_s
