"""Waiting until something is so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_STEPS: Final = 10


async def sleep_in_steps(duration_s: float) -> None:
    """Sleep while the loop reads what comes: a stall of the process takes one step, events are read in the others."""
    for _ in range(_STEPS):
        await asyncio.sleep(duration_s / _STEPS)


class Changes:
    """Wakes all who wait for a condition, whenever one may have changed. For one event loop."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def notify(self) -> None:
        """Something changed: conditions are looked at again, soon."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, is_so: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Return once `is_so`, `True`, or `False` after the timeout."""
        loop = asyncio.get_running_loop()
        is_expired = False

        def expire() -> None:
            nonlocal is_expired
            is_expired = True
            self.notify()

        timer = None if timeout_s is None else loop.call_later(timeout_s, expire)
        try:
            while not is_so():
                if is_expired:
                    return False
                waiter: asyncio.Future[None] = loop.create_future()
                self._waiters.append(waiter)
                await waiter
        finally:
            if timer is not None:
                timer.cancel()
        return True
