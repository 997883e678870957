"""The boundary of every session store: a bound on time, and one kind of error for all that a driver raises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

import structlog

from voice_gateway.errors import StoreError
from voice_gateway.store.base import Fenced, SessionRecord, SessionStore

OPERATION_TIMEOUT_S: Final = 3.0
"""How long one operation may take: a caller waits in silence until the first one is over."""
_log = structlog.get_logger("voice_gateway.store")
_T = TypeVar("_T")


class GuardedStore:
    """A `SessionStore` in front of another, `inner`: an operation ends within `timeout_s`, well or with `StoreError`.

    `Fenced` and other `StoreError`s of `inner` pass as they are. An operation that ran out of time may have happened.
    """

    def __init__(self, inner: SessionStore, *, timeout_s: float = OPERATION_TIMEOUT_S) -> None:
        self.inner = inner
        self._timeout_s = timeout_s
        self._is_away = False

    async def save(self, record: SessionRecord) -> None:
        await self._bounded(self.inner.save(record))

    async def claim(self, record: SessionRecord) -> bool:
        return await self._bounded(self.inner.claim(record))

    async def load(self, session_id: str) -> SessionRecord | None:
        return await self._bounded(self.inner.load(session_id))

    async def delete(self, session_id: str, epoch: int) -> None:
        await self._bounded(self.inner.delete(session_id, epoch))

    async def close(self) -> None:
        await self._bounded(self.inner.close())

    async def _bounded(self, operation: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout(self._timeout_s) as bound:
                result = await operation
        except StoreError as error:
            if isinstance(error, Fenced):
                self._note(is_away=False)
            raise
        except Exception as error:  # each driver has a tree of its own, and not all of it has one root
            self._note(is_away=True, reason=type(error).__name__)
            if bound.expired():
                raise StoreError(f"the session store did not answer within {self._timeout_s:g} s") from error
            raise StoreError(f"the session store failed: {str(error) or type(error).__name__}") from error
        self._note(is_away=False)
        return result

    def _note(self, *, is_away: bool, **reason: str) -> None:
        """Log that the store fails, or that it works again, once for each change."""
        if is_away is not self._is_away:
            self._is_away = is_away
            _log.debug("session_store_away" if is_away else "session_store_back", **reason)


def guarded(store: SessionStore) -> GuardedStore:
    """Return the store behind a `GuardedStore`, itself if it is one."""
    return store if isinstance(store, GuardedStore) else GuardedStore(store)
