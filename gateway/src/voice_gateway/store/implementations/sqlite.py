"""Sessions in one file, for all workers of a host: they survive restarts of any of them."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import structlog

from voice_gateway.errors import StoreError
from voice_gateway.store.base import Fenced, SessionRecord
from voice_gateway.store.encoding import RecordCodec

_BUSY_TIMEOUT_S: Final = 2.0
_TRY_AGAIN_AFTER_S: Final = 0.02
PURGE_EVERY_S: Final = 60.0
"""How long a record may stay in the file after its time, at most."""
_FIRST_PURGE_AFTER_S: Final = 1.0
_PURGE_AT_ONCE: Final = 500
"""Rows that one statement deletes, so that saves get in between."""
_OWNER_ONLY: Final = 0o600
_pause = time.sleep
_log = structlog.get_logger("voice_gateway.store")
_T = TypeVar("_T")


class SqliteStore:
    """A `SessionStore` in the SQLite file `path`, which is made where it is missing; one thread does all its work.

    A record outlives its process at once, and a power cut from the next checkpoint on (`synchronous=NORMAL`). The file
    and those beside it (`-wal`, `-shm`) are for their owner alone (0600). Records whose time is over are deleted, and
    overwritten, within `PURGE_EVERY_S`. The constructor waits up to 2 s for other workers that make the same file; it
    raises `StoreError` where the file cannot be opened, or `codec` lacks the key of its records.
    """

    def __init__(
        self, path: Path, *, ttl_s: float, clock: Callable[[], float], codec: RecordCodec | None = None
    ) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._codec = codec or RecordCodec()
        self._next_purge: asyncio.TimerHandle | None = None
        self._purging: asyncio.Task[None] | None = None
        self._is_closed = False
        try:
            _keep_private(path)
            self._database = _open(path)
        except (sqlite3.Error, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise StoreError(f"the session store {path}: {reason.lower()}") from None
        self._check_key(path)
        self._executor = ThreadPoolExecutor(1, "sqlite")

    async def save(self, record: SessionRecord) -> None:
        stored = self._codec.encode(record)
        await self._do(lambda: self._save(record, stored))

    async def claim(self, record: SessionRecord) -> bool:
        stored = self._codec.encode(record)
        return await self._do(lambda: self._claim(record, stored))

    async def load(self, session_id: str) -> SessionRecord | None:
        row = await self._do(lambda: self._database.execute(_LOAD, (session_id, self._clock())).fetchone())
        return None if row is None or row[0] is None else self._codec.decode(session_id, row[0])

    async def delete(self, session_id: str, epoch: int) -> None:
        """Forget the session, but not that it was there."""
        await self._do(lambda: self._database.execute(_DELETE, (epoch + 1, self._expiry, session_id, epoch)))

    async def purge(self) -> int:
        """Delete the records whose time is over, and return how many there were; happens by itself once a minute."""
        deleted = 0
        while batch := await self._do(lambda: self._database.execute(_PURGE, (self._clock(), _PURGE_AT_ONCE)).rowcount):
            deleted += batch
        if deleted:
            await self._do(self._empty_log)
        return deleted

    async def close(self) -> None:
        """Close the file; what was saved stays."""
        self._is_closed = True
        if self._next_purge is not None:
            self._next_purge.cancel()
        if self._purging is not None:
            self._purging.cancel()
            await asyncio.wait([self._purging])
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._database.close)
        finally:
            self._executor.shutdown(wait=False, cancel_futures=True)

    @property
    def _expiry(self) -> float:
        return self._clock() + self._ttl_s

    async def _do(self, work: Callable[[], _T]) -> _T:
        loop = asyncio.get_running_loop()
        if self._next_purge is None and not self._is_closed:
            # the first is soon: the file may have been left with records of long ago
            self._next_purge = loop.call_later(_FIRST_PURGE_AFTER_S, self._start_purge, loop)
        try:
            return await loop.run_in_executor(self._executor, work)
        except (sqlite3.Error, RuntimeError) as error:
            raise StoreError(f"the session store failed: {error}") from error

    def _start_purge(self, loop: asyncio.AbstractEventLoop) -> None:
        self._next_purge = loop.call_later(PURGE_EVERY_S, self._start_purge, loop)
        if self._purging is None or self._purging.done():
            self._purging = loop.create_task(self._purge())

    async def _purge(self) -> None:
        try:
            await self.purge()
        except StoreError as error:
            _log.warning("session_purge_failed", error=str(error))

    def _empty_log(self) -> None:
        """Write the file and cut the log beside it, in which deleted records still stand; unless others are at it."""
        self._database.execute("PRAGMA busy_timeout=0")
        try:
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            self._database.execute(f"PRAGMA busy_timeout={round(_BUSY_TIMEOUT_S * 1000)}")

    def _check_key(self, path: Path) -> None:
        """The newest record tells: older ones may be of a key that is going out of use."""
        newest = self._database.execute(_NEWEST, (self._clock(),)).fetchone()
        if newest is not None and not self._codec.has_key_of(newest[0]):
            self._database.close()
            raise StoreError(
                f"session.store_key has no key that opens the records in {path}: "
                "add the one that sealed them behind the new one, or remove the file to forget them"
            )

    def _save(self, record: SessionRecord, stored: bytes) -> None:
        now = self._clock()
        row = (record.session_id, record.epoch, record.revision, stored, now + self._ttl_s)
        if self._database.execute(_SAVE, (*row, now)).rowcount == 0:
            found = self._database.execute(_EPOCH, (record.session_id,)).fetchone()
            if found is not None and found[0] > record.epoch:
                raise Fenced(found[0], record.epoch)

    def _claim(self, record: SessionRecord, stored: bytes) -> bool:
        row = (record.epoch, record.revision, stored, self._expiry, record.session_id, record.epoch - 1, self._clock())
        return self._database.execute(_CLAIM, row).rowcount == 1


def _keep_private(path: Path) -> None:
    """Make the file, and take it and what SQLite keeps beside it from all but its owner; raises `OSError`."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY))
    for each in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))):
        try:
            if each.stat().st_mode & 0o077:
                each.chmod(_OWNER_ONLY)
        except FileNotFoundError:  # SQLite makes these with the mode of the file
            continue


def _open(path: Path) -> sqlite3.Connection:
    """Open the file and make its table, while other workers do the same; raises `sqlite3.Error`."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        database = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            # the switch to WAL waits for no lock, even with a timeout: most workers need not make it
            if database.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.execute("PRAGMA secure_delete=ON")
            for statement in _SCHEMA:
                database.execute(statement)
        except sqlite3.Error as error:
            database.close()
            if not _is_busy(error) or time.monotonic() >= deadline:
                raise
            _pause(_TRY_AGAIN_AFTER_S)
        else:
            return database


def _is_busy(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


_SCHEMA = (
    """
CREATE TABLE IF NOT EXISTS sessions (
  id TEXT PRIMARY KEY, epoch INTEGER NOT NULL, revision INTEGER NOT NULL, record BLOB, expires_at REAL NOT NULL
) WITHOUT ROWID
""",
    "CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (expires_at)",
)
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
_PURGE = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at <= ? LIMIT ?)"
_NEWEST = "SELECT record FROM sessions WHERE record IS NOT NULL AND expires_at > ? ORDER BY expires_at DESC LIMIT 1"
