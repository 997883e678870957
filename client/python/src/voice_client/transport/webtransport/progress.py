"""How long a sender waited for any sign that what it sends arrives. Sans-IO."""

from __future__ import annotations


class ProgressTracker:
    """Measures the intervals in which data is in flight and nothing new is acknowledged.

    Call `observe` after every datagram sent or received. An interval begins when something is in flight for the
    first time since the last progress, and ends with the next progress.
    """

    def __init__(self) -> None:
        self._largest: int | None = None
        self._waiting_since: float | None = None
        self.progressed_at: float | None = None
        """When something new was acknowledged last."""
        self._worst_s = 0.0

    def observe(self, now: float, largest_acknowledged: int | None, *, is_waiting: bool) -> None:
        """Note the largest packet number acknowledged, and whether anything is in flight."""
        if largest_acknowledged is not None and (self._largest is None or largest_acknowledged > self._largest):
            self._largest = largest_acknowledged
            self.progressed_at = now
            self._close(now)
            self._waiting_since = None
        if not is_waiting:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = now

    def stalled_s(self, now: float) -> float:
        """How long something has been waiting without any progress."""
        return 0.0 if self._waiting_since is None else now - self._waiting_since

    def restart(self) -> None:
        """Forget the worst interval so far; one that is running counts from its beginning."""
        self._worst_s = 0.0

    def worst_ms(self, now: float) -> float:
        """The longest interval since `restart`, one that is still running included."""
        running = now - self._waiting_since if self._waiting_since is not None else 0.0
        return max(self._worst_s, running) * 1000

    def _close(self, now: float) -> None:
        if self._waiting_since is not None:
            self._worst_s = max(self._worst_s, now - self._waiting_since)
