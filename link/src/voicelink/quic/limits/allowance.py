"""An allowance of bytes that grows with time: a token bucket. Sans-IO."""

from __future__ import annotations


class Allowance:
    """Grows by `bits_per_s` up to `most_bytes`, with which it begins."""

    def __init__(self, bits_per_s: float, most_bytes: float, now: float) -> None:
        self._bytes_per_s = bits_per_s / 8
        self._most_bytes = most_bytes
        self._bytes = most_bytes
        self._counted_at = now

    def left(self, now: float) -> float:
        """The bytes that may be spent now."""
        if now > self._counted_at:
            self._bytes = min(self._most_bytes, self._bytes + (now - self._counted_at) * self._bytes_per_s)
            self._counted_at = now
        return self._bytes

    def spend(self, byte_count: float, now: float) -> None:
        """Take what was used; what is not there is forgiven."""
        self._bytes = max(0.0, self.left(now) - byte_count)

    def ready_at(self, byte_count: float) -> float:
        """When so much will be left; the most there ever is, if that is less."""
        missing = min(byte_count + 1, self._most_bytes) - self._bytes  # one more, for rounding
        return self._counted_at + max(0.0, missing) / self._bytes_per_s
