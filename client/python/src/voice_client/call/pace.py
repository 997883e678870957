"""The caller's real time."""

from __future__ import annotations

import asyncio


class Pace:
    """Releases one piece of media after the other at the moment it is due, without drift.

    A late piece does not delay the next ones: they are released at once until the pace is caught up.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due_at = self._loop.time()

    async def wait(self, duration_s: float) -> None:
        """Wait until a piece that lasts `duration_s` has been spoken."""
        self._due_at += duration_s
        await asyncio.sleep(max(0.0, self._due_at - self._loop.time()))
