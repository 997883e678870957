"""The end of a session whose worker goes away. Sans-IO."""

from __future__ import annotations

from collections.abc import Iterator


class Draining:
    """The caller is sent elsewhere at the first quiet moment, at the latest when half of the time is over.

    The session ends at `ends_at`, which is `None` while the worker stays.
    """

    def __init__(self) -> None:
        self.ends_at: float | None = None
        self.is_notice_pending = False
        """Whether the caller has yet to be sent elsewhere."""
        self._notice_by = 0.0

    def begin(self, deadline_s: float, now: float) -> None:
        """The worker goes away within `deadline_s`."""
        self.ends_at = now + deadline_s
        self._notice_by = now + deadline_s / 2
        self.is_notice_pending = True

    def is_notice_due(self, now: float) -> bool:
        """Whether no quiet moment is waited for any more."""
        return self.is_notice_pending and now >= self._notice_by

    def notice(self, now: float, *, is_quiet: bool) -> float | None:
        """Return the seconds that are left if the caller is to be sent elsewhere now, and not again."""
        if self.ends_at is None or not self.is_notice_pending or not (is_quiet or now >= self._notice_by):
            return None
        self.is_notice_pending = False
        return max(0.0, self.ends_at - now)

    def deadlines(self) -> Iterator[float]:
        """When to look again."""
        if self.ends_at is not None:
            yield self.ends_at
            if self.is_notice_pending:
                yield self._notice_by
