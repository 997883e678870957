"""When a session is crossed by a new one, because the vendor will end it. Sans-IO."""

from __future__ import annotations


class Renewal:
    """A session is replaced at a quiet moment from `margin_s` before its end, at the latest `forced_s` before."""

    def __init__(self, margin_s: float, forced_s: float) -> None:
        self._margin_s = margin_s
        self._forced_s = forced_s
        self._renew_at: float | None = None
        self._forced_at: float | None = None

    def ready(self, now: float, lasts_s: float | None) -> None:
        """A session began that ends after `lasts_s`; `None` where the vendor sets no end."""
        if lasts_s is not None:
            self._forced_at = now + max(lasts_s / 2, lasts_s - self._forced_s)
            self._renew_at = min(self._forced_at, now + max(lasts_s / 2, lasts_s - self._margin_s))

    def ending(self, now: float, within_s: float) -> None:
        """The vendor announced the end."""
        self._renew_at, self._forced_at = now, now + max(0.0, within_s - self._forced_s)

    def lost(self) -> None:
        """The session is over."""
        self._renew_at = self._forced_at = None

    def is_due(self, now: float, *, is_quiet: bool) -> bool:
        """Whether the session is to be replaced now."""
        is_wanted = self._renew_at is not None and now >= self._renew_at and is_quiet
        return is_wanted or (self._forced_at is not None and now >= self._forced_at)
