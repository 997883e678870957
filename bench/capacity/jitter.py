"""Interarrival jitter as RTP reports it."""

from __future__ import annotations


class Jitter:
    """The running mean deviation of one call's frames (RFC 3550, section 6.4.1); `native/src/call.rs` has its twin."""

    def __init__(self) -> None:
        self._last_ms: float | None = None
        self._jitter_ms = 0.0

    def came(self, late_ms: float) -> float:
        """Take how late a frame came, and return the jitter after it, ms."""
        if self._last_ms is not None:
            self._jitter_ms += (abs(late_ms - self._last_ms) - self._jitter_ms) / 16
        self._last_ms = late_ms
        return self._jitter_ms
