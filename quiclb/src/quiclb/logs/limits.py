"""A limit on log lines that unauthenticated peers can cause, by event name; suppressed lines are counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, MutableMapping
from typing import Any, Final

LINES_PER_S: Final = 1.0
LINES_AT_ONCE: Final = 10.0
DEBUG_LINES_PER_S: Final = 200.0
DEBUG_LINES_AT_ONCE: Final = 1_000.0

suppressed_lines: Counter[str] = Counter()
"""Lines of this process that were not written, by event name."""


class DebugLimit:
    """A processor of structlog: of each event at debug level 200 lines a second in the long run, 1,000 at once.

    State changes are logged at that level, and a flood of clients makes as many as it likes. The line that follows
    suppressed ones says how many they were. `clock` gives seconds.
    """

    def __init__(
        self,
        per_s: float = DEBUG_LINES_PER_S,
        burst: float = DEBUG_LINES_AT_ONCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = _EventLimits(per_s, burst, clock)

    def __call__(self, logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Let the line pass, or raise `structlog.DropEvent`."""
        if method != "debug":
            return line
        suppressed = self._limits.take(line["event"])
        if suppressed is None:
            from structlog import DropEvent

            raise DropEvent
        if suppressed:
            line["suppressed"] = suppressed
        return line


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
        self._limits = _EventLimits(per_s, burst, clock)

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
        suppressed = self._limits.take(event)
        if suppressed is None:
            return
        write(event, **({**facts, "suppressed": suppressed} if suppressed else facts))


class _EventLimits:
    """A token bucket for each event name."""

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float]) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}
        self._suppressed: Counter[str] = Counter()

    def take(self, event: str) -> int | None:
        """Return how many lines of the event were suppressed before this one; `None` where this one is, too."""
        now = self._clock()
        level, at = self._levels.get(event, (self._burst, now))
        level = min(self._burst, level + (now - at) * self._per_s)
        if level < 1:
            self._levels[event] = level, now
            self._suppressed[event] += 1
            suppressed_lines[event] += 1
            return None
        self._levels[event] = level - 1, now
        return self._suppressed.pop(event, 0)
