"""What the caller has left to play, estimated from its last report. Sans-IO."""

from __future__ import annotations


class PlaybackEstimate:
    """The caller is taken to play on since its last report; a report takes the estimate's place."""

    def __init__(self) -> None:
        self._buffered_ms = 0.0
        self._estimated_at: float | None = None

    @property
    def is_playing(self) -> bool:
        """Whether the caller had something left to play at its last report."""
        return self._estimated_at is not None

    def buffered_s(self, now: float) -> float:
        """How much the caller has left to play."""
        self._play_on(now)
        return self._buffered_ms / 1000

    def sent(self, duration_ms: float, now: float) -> None:
        """So much more was given to the transport."""
        self._play_on(now)
        self._buffered_ms += duration_ms

    def reported(self, unplayed_ms: float, now: float) -> None:
        """The caller has so much left; with nothing left, a loudspeaker plays on only once it reports again."""
        self._buffered_ms = unplayed_ms
        self._estimated_at = now if unplayed_ms > 0 else None

    def clear(self) -> None:
        """The connection is gone, and what was sent with it."""
        self._buffered_ms = 0.0
        self._estimated_at = None

    def _play_on(self, now: float) -> None:
        if self._estimated_at is not None:
            self._buffered_ms = max(0.0, self._buffered_ms - (now - self._estimated_at) * 1000)
            self._estimated_at = now
