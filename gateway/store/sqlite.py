"""Sessions in one file, for all workers of a host: they survive restarts of any of them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from gateway.errors import StoreError
from gateway.store.base import Fenced, SessionRecord
from gateway.store.encoding import decode_record, encode_record

_BUSY_TIMEOUT_S = 2.0
_PURGE_EVERY = 256
_T = TypeVar("_T")


class SqliteStore:
    """A `SessionStore` in the SQLite file `path`, which is made where it is missing; one thread does all its work.

    A record outlives its process at once, and a power cut from the next checkpoint on (`synchronous=NORMAL`). The
    constructor raises `StoreError` where the file cannot be opened.
    """

    def __init__(self, path: Path, *, ttl_s: float, clock: Callable[[], float]) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._writes = 0
        self._executor = ThreadPoolExecutor(1, "sqlite")
        try:
            self._database = sqlite3.connect(
                path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(_SCHEMA)
        except sqlite3.Error as error:
            self._executor.shutdown()
            raise StoreError(f"the session store {path}: {error}") from None

    async def save(self, record: SessionRecord) -> None:
        """Keep the record."""
        octets = encode_record(record)
        await self._do(lambda: self._save(record, octets))

    async def claim(self, record: SessionRecord) -> bool:
        """Take the session over from the epoch before."""
        octets = encode_record(record)
        return await self._do(lambda: self._claim(record, octets))

    async def load(self, session_id: str) -> SessionRecord | None:
        """Return the record last saved."""
        row = await self._do(lambda: self._database.execute(_LOAD, (session_id, self._clock())).fetchone())
        return None if row is None or row[0] is None else decode_record(row[0])

    async def delete(self, session_id: str, epoch: int) -> None:
        """Forget the session, but not that it was there."""
        await self._do(lambda: self._database.execute(_DELETE, (epoch + 1, self._expiry, session_id, epoch)))

    async def close(self) -> None:
        """Close the file; what was saved stays."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._database.close)
        self._executor.shutdown()

    @property
    def _expiry(self) -> float:
        return self._clock() + self._ttl_s

    async def _do(self, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except (sqlite3.Error, RuntimeError) as error:
            raise StoreError(f"the session store failed: {error}") from error

    def _save(self, record: SessionRecord, octets: bytes) -> None:
        now = self._clock()
        row = (record.session_id, record.epoch, record.revision, octets, now + self._ttl_s)
        if self._database.execute(_SAVE, (*row, now)).rowcount == 0:
            found = self._database.execute(_EPOCH, (record.session_id,)).fetchone()
            if found is not None and found[0] > record.epoch:
                raise Fenced(found[0], record.epoch)
        self._writes += 1
        if self._writes % _PURGE_EVERY == 0:
            self._database.execute(_PURGE, (now,))

    def _claim(self, record: SessionRecord, octets: bytes) -> bool:
        row = (record.epoch, record.revision, octets, self._expiry, record.session_id, record.epoch - 1, self._clock())
        return self._database.execute(_CLAIM, row).rowcount == 1


_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
  id TEXT PRIMARY KEY, epoch INTEGER NOT NULL, revision INTEGER NOT NULL, record BLOB, expires_at REAL NOT NULL
) WITHOUT ROWID
"""
_SAVE = """
INSERT INTO sessions (id, epoch, revision, record, expires_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
  epoch = excluded.epoch, revision = excluded.revision, record = excluded.record, expires_at = excluded.expires_at
WHERE sessions.expires_at <= ? OR sessions.epoch < excluded.epoch
  OR (sessions.epoch = excluded.epoch AND sessions.revision <= excluded.revision)
"""
_CLAIM = """
UPDATE sessions SET epoch = ?, revision = ?, record = ?, expires_at = ?
WHERE id = ? AND epoch = ? AND record IS NOT NULL AND expires_at > ?
"""
_LOAD = "SELECT record FROM sessions WHERE id = ? AND expires_at > ?"
_EPOCH = "SELECT epoch FROM sessions WHERE id = ?"
_DELETE = "UPDATE sessions SET epoch = ?, record = NULL, expires_at = ? WHERE id = ? AND epoch <= ?"
_PURGE = "DELETE FROM sessions WHERE expires_at <= ?"
