"""From an address in the settings to a session store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import SplitResult, urlsplit

from gateway.errors import StoreError
from gateway.store.base import SessionStore
from gateway.store.memory import MemoryStore


def open_store(url: str, *, ttl_s: float = 900.0, clock: Callable[[], float] = time.time) -> SessionStore:
    """Return the store at `url`, such as `memory://`; close it when done. Records are kept for `ttl_s`.

    Raises `StoreError` where the address names no store there is.
    """
    address = urlsplit(url)
    opener = _OPENERS.get(address.scheme)
    if opener is None or "://" not in url:
        schemes = ", ".join(f"{scheme}://" for scheme in _OPENERS)
        raise StoreError(f"session store addresses begin with {schemes}, got {_without_password(address, url)}")
    return opener(address, ttl_s, clock)


_Opener = Callable[[SplitResult, float, Callable[[], float]], SessionStore]


def _open_memory(address: SplitResult, ttl_s: float, clock: Callable[[], float]) -> SessionStore:
    if address.netloc or address.path:
        raise StoreError("the memory store is written memory:// with nothing behind it")
    return MemoryStore(ttl_s=ttl_s, clock=clock)


def _without_password(address: SplitResult, url: str) -> str:
    return f"{address.scheme}://..." if address.password else url


_OPENERS: Final[Mapping[str, _Opener]] = MappingProxyType({"memory": _open_memory})
