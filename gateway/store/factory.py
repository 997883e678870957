"""From an address in the settings to a session store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from gateway.errors import StoreError
from gateway.store.base import SessionStore
from gateway.store.memory import MemoryStore
from gateway.store.sqlite import SqliteStore

Clock = Callable[[], float]


def open_store(url: str, *, ttl_s: float = 900.0, clock: Clock = time.time) -> SessionStore:
    """Return the store at `url`; close it when done. Records are forgotten `ttl_s` after they were written.

    `memory://`, `sqlite:///relative.db`, `sqlite:////absolute.db`, `redis://HOST:PORT/0`, `rediss://`,
    `redis+sentinel://HOST,HOST/NAME` or `redis+cluster://HOST,HOST`. Raises `StoreError` for any other, and for a file
    that cannot be opened; a server that cannot be reached shows when it is used.
    """
    address = urlsplit(url)
    opener = _OPENERS.get(address.scheme)
    if opener is None or "://" not in url:
        schemes = ", ".join(f"{scheme}://" for scheme in _OPENERS)
        raise StoreError(f"session store addresses begin with {schemes}, got {_without_password(address, url)}")
    return opener(address, ttl_s, clock)


_Opener = Callable[[SplitResult, float, Clock], SessionStore]


def _open_memory(address: SplitResult, ttl_s: float, clock: Clock) -> SessionStore:
    if address.netloc or address.path:
        raise StoreError("the memory store is written memory:// with nothing behind it")
    return MemoryStore(ttl_s=ttl_s, clock=clock)


def _open_sqlite(address: SplitResult, ttl_s: float, clock: Clock) -> SessionStore:
    path = unquote(address.path).removeprefix("/")
    if address.netloc or not path:
        raise StoreError("the SQLite store is written sqlite:///relative.db or sqlite:////absolute.db")
    return SqliteStore(Path(path), ttl_s=ttl_s, clock=clock)


def _open_redis(address: SplitResult, ttl_s: float, clock: Clock) -> SessionStore:
    try:
        from gateway.store.redis import RedisStore, connect
    except ImportError:
        raise StoreError("the Redis store needs the package redis: install quic-voice-gateway[redis]") from None
    return RedisStore(connect(address), ttl_s=ttl_s)


def _without_password(address: SplitResult, url: str) -> str:
    return f"{address.scheme}://..." if address.password else url


_OPENERS: Final[Mapping[str, _Opener]] = MappingProxyType(
    {
        "memory": _open_memory,
        "sqlite": _open_sqlite,
        "redis": _open_redis,
        "rediss": _open_redis,
        "redis+sentinel": _open_redis,
        "redis+cluster": _open_redis,
    }
)
