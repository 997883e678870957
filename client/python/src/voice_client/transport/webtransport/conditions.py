"""Waits for a condition of a connection, such as a validated path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from voice_client.errors import MigrationFailed


class Conditions:
    """`check` them whenever something changed, `end` them when nothing will any more."""

    def __init__(self) -> None:
        self._is_over = False
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    @property
    def has_any(self) -> bool:
        """Whether `check` has anything to do."""
        return bool(self._waiters)

    async def until(self, is_true: Callable[[], bool], timeout_s: float | None = None, failure: str = "") -> None:
        """Wait for it; raises `MigrationFailed`, with `failure` after the timeout."""
        if self._is_over:
            raise MigrationFailed("the call is over")
        if is_true():
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (is_true, done)
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await done
        except TimeoutError:
            raise MigrationFailed(failure) from None
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        if self._is_over:
            raise MigrationFailed("the call ended while it moved to another path")

    def check(self) -> None:
        """Resolve the waits whose condition is true now."""
        for is_true, done in self._waiters:
            if not done.done() and (self._is_over or is_true()):
                done.set_result(None)

    def end(self) -> None:
        """The call is over: end all waits."""
        self._is_over = True
        self.check()
