"""From an address in the settings to a session store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from voice_gateway.errors import StoreError
from voice_gateway.store.address import scheme_of, split_file_address, split_server_address
from voice_gateway.store.base import SessionStore
from voice_gateway.store.encoding import RecordCodec
from voice_gateway.store.guarded import OPERATION_TIMEOUT_S, GuardedStore
from voice_gateway.store.implementations.memory import MemoryStore
from voice_gateway.store.implementations.sqlite import SqliteStore

Clock = Callable[[], float]


def open_store(
    url: str,
    *,
    ttl_s: float = 900.0,
    clock: Clock = time.time,
    codec: RecordCodec | None = None,
    timeout_s: float = OPERATION_TIMEOUT_S,
) -> GuardedStore:
    """Return the store at `url`; close it when done. Records are forgotten `ttl_s` after they were written.

    `memory://`, `sqlite:///relative.db`, `sqlite:////absolute.db`, `redis://HOST:PORT/0`, `rediss://`,
    `redis+sentinel://HOST,HOST/NAME` or `redis+cluster://HOST,HOST`. `codec` seals what leaves this process; without
    one nothing is sealed. Raises `StoreError` for any other address or option, and for a file that cannot be opened or
    whose records were sealed by another key; a server that cannot be reached shows when it is used.
    """
    opener = _OPENERS.get(scheme_of(url) or "")
    if opener is None:
        schemes = ", ".join(f"{scheme}://" for scheme in _OPENERS)
        raise StoreError(f"the session store's address must begin with {schemes}")
    return GuardedStore(opener(url, ttl_s, clock, codec or RecordCodec()), timeout_s=timeout_s)


_Opener = Callable[[str, float, Clock, RecordCodec], SessionStore]


def _open_memory(url: str, ttl_s: float, clock: Clock, codec: RecordCodec) -> SessionStore:
    if url != "memory://":
        raise StoreError("the memory store is written memory:// with nothing behind it")
    return MemoryStore(ttl_s=ttl_s, clock=clock)


def _open_sqlite(url: str, ttl_s: float, clock: Clock, codec: RecordCodec) -> SessionStore:
    address = split_file_address(url)
    path = address.path.removeprefix("/")
    if address.hosts or not path:
        raise StoreError("the SQLite store is written sqlite:///relative.db or sqlite:////absolute.db")
    return SqliteStore(Path(path), ttl_s=ttl_s, clock=clock, codec=codec)


def _open_redis(url: str, ttl_s: float, clock: Clock, codec: RecordCodec) -> SessionStore:
    try:
        from voice_gateway.store.implementations.redis import RedisStore, connect
    except ImportError:
        raise StoreError("the Redis store needs the package redis: install voice-gateway[redis]") from None
    return RedisStore(connect(split_server_address(url)), ttl_s=ttl_s, codec=codec)


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
