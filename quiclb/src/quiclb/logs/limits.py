"""A limit on log lines that unauthenticated peers can cause, by event name; suppressed lines are counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

LINES_PER_S: Final = 1.0
LINES_AT_ONCE: Final = 10.0

suppressed_lines: Counter[str] = Counter()
"""Lines of this process that were not written, by event name."""


class LimitedLog:
    """Writes to a structlog logger, of each event 1 line a second in the long run and 10 at once.

    The line that follows suppressed ones says how many they were, as `suppressed`. Use it for every line that can be
    caused without authentication. `clock` gives seconds.
    """

    def __init__(
        self,
        log: Any,
        *,
        per_s: float = LINES_PER_S,
        burst: float = LINES_AT_ONCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}
        self._suppressed: Counter[str] = Counter()

    def info(self, event: str, **facts: Any) -> None:
        """Write the line, or count it."""
        self._write(self._log.info, event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Write the line, or count it."""
        self._write(self._log.warning, event, facts)

    def exception(self, event: str, **facts: Any) -> None:
        """Write the line with the exception being handled, or count it."""
        self._write(self._log.exception, event, facts)

    def _write(self, write: Callable[..., Any], event: str, facts: dict[str, Any]) -> None:
        now = self._clock()
        level, at = self._levels.get(event, (self._burst, now))
        level = min(self._burst, level + (now - at) * self._per_s)
        if level < 1:
            self._levels[event] = level, now
            self._suppressed[event] += 1
            suppressed_lines[event] += 1
            return
        self._levels[event] = level - 1, now
        if suppressed := self._suppressed.pop(event, 0):
            facts = {**facts, "suppressed": suppressed}
        write(event, **facts)
