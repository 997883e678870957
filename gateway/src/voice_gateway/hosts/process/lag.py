"""How far an event loop is behind, measured from another thread: a loop that is blocked cannot tell."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final

PROBE_INTERVAL_S: Final = 0.1


class LoopLag:
    """Asks `loop` to run something again and again; `probe` is called from another thread, every `PROBE_INTERVAL_S`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asked_at: float | None = None
        self._last_s = 0.0

    @property
    def lag_s(self) -> float:
        """How long the loop took to answer the last question, or has not answered the present one."""
        asked_at = self._asked_at
        return self._last_s if asked_at is None else max(self._last_s, time.monotonic() - asked_at)

    def probe(self) -> None:
        """Ask, unless an answer is outstanding."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._answered)

    def _answered(self) -> None:
        asked_at = self._asked_at
        if asked_at is not None:
            self._last_s = time.monotonic() - asked_at
            self._asked_at = None
