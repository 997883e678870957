"""How long the machine stood still, as far as a timer of this process notices it."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import Self

TICK_S = 0.01
LATE_S = 0.02
"""By how much a timer has to be late to count: a machine that lets all processes wait lets this one wait."""


class Standstills:
    """Notes how late a timer is each time, while it is entered."""

    def __init__(self) -> None:
        self._found: list[tuple[float, float]] = []
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._watching is not None
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching

    def ms(self, since: float = -math.inf, until: float = math.inf) -> float:
        """All standstills that touch the time between two instants of the event loop's clock, in milliseconds."""
        return 1000 * sum(end - start for start, end in self._found if end >= since and start <= until)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            if (now := loop.time()) > due + LATE_S:
                self._found.append((due, now))
