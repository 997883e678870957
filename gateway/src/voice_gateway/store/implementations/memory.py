"""Sessions kept in this process: its end loses them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from voice_gateway.store.base import Fenced, SessionRecord


class MemoryStore:
    """A `SessionStore` in a dictionary; records are forgotten `ttl_s` after they were written."""

    def __init__(self, *, ttl_s: float = 900.0, clock: Callable[[], float] = time.time) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    async def save(self, record: SessionRecord) -> None:
        found = self._find(record.session_id)
        if found is not None and found.epoch > record.epoch:
            raise Fenced(found.epoch, record.epoch)
        if (
            found is None
            or found.epoch < record.epoch
            or found.record is None
            or found.record.revision <= record.revision
        ):
            self._put(record)

    async def claim(self, record: SessionRecord) -> bool:
        found = self._find(record.session_id)
        if found is None or found.record is None or found.epoch != record.epoch - 1:
            return False
        self._put(record)
        return True

    async def load(self, session_id: str) -> SessionRecord | None:
        found = self._find(session_id)
        return None if found is None else found.record

    async def delete(self, session_id: str, epoch: int) -> None:
        """Forget the session, but not that it was there."""
        found = self._find(session_id)
        if found is not None and found.epoch <= epoch:
            self._entries[session_id] = _Entry(epoch + 1, None, self._clock() + self._ttl_s)

    async def close(self) -> None:
        """Forget all sessions."""
        self._entries.clear()

    def _put(self, record: SessionRecord) -> None:
        now = self._clock()
        self._entries.pop(record.session_id, None)
        self._entries[record.session_id] = _Entry(record.epoch, record, now + self._ttl_s)
        # in the order in which they were written, the oldest first
        while (oldest := next(iter(self._entries))) and self._entries[oldest].expires_at <= now:
            del self._entries[oldest]

    def _find(self, session_id: str) -> _Entry | None:
        found = self._entries.get(session_id)
        return None if found is None or found.expires_at <= self._clock() else found


@dataclass(frozen=True, slots=True)
class _Entry:
    epoch: int
    record: SessionRecord | None
    expires_at: float
