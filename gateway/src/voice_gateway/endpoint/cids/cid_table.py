"""Which connection each connection ID belongs to. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class CidTable(Generic[T]):
    """Connections by connection ID; `T` is hashable by identity.

    A connection is found by all the IDs that were added for it and not removed, retired ones included: those stay until
    no datagram for them can still be on its way, as a stateless reset would end the connection.
    """

    def __init__(self) -> None:
        self._by_cid: dict[bytes, T] = {}
        self._cids: dict[T, set[bytes]] = {}
        self.find: Callable[[bytes], T | None] = self._by_cid.get
        """Return the connection of a connection ID."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._by_cid)

    def of(self, connection: T) -> frozenset[bytes]:
        """Return the connection IDs by which the connection is found."""
        return frozenset(self._cids.get(connection, ()))

    def add(self, cid: bytes, connection: T) -> None:
        """Datagrams for `cid` are this connection's."""
        self._by_cid[cid] = connection
        self._cids.setdefault(connection, set()).add(cid)

    def remove(self, cid: bytes, connection: T) -> None:
        """Datagrams for `cid` are this connection's no longer."""
        cids = self._cids.get(connection)
        if cids is not None:
            cids.discard(cid)
            self._forget(connection, (cid,))

    def remove_all(self, connection: T) -> None:
        self._forget(connection, self._cids.pop(connection, ()))

    def clear(self) -> None:
        self._by_cid.clear()
        self._cids.clear()

    def _forget(self, connection: T, cids: Iterable[bytes]) -> None:
        for cid in cids:
            if self._by_cid.get(cid) is connection:
                del self._by_cid[cid]
