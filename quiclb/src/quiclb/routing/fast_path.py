"""`quiclb.routing.router.route` for the most usual datagram, in as few steps as Python allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from quiclb.codec.crypto import cipher_for
from quiclb.routing.packet import LONG_FORM
from quiclb.routing.pool import BackendState
from quiclb.routing.table import RoutingTable

T = TypeVar("T")


class FastPath(Generic[T]):
    """Finds what `targets` holds for the backend, by its name, that a short header's connection ID names.

    `find` says `None` of anything else, whether routable or not: ask `route` then. Make a new one for a new table.
    """

    def __init__(self, table: RoutingTable, targets: Mapping[str, T]) -> None:
        self.table = table
        self._slots: list[tuple[int, Callable[[bytes], bytes], dict[bytes, T]] | None] = [None] * 8
        if table.decoder.checks_self_length:
            return
        for config in table.configs:
            owners = {
                server_id: targets[backend.name]
                for backend in table.pool
                if backend.state is not BackendState.DOWN
                for server_id in backend.server_ids.get(config.config_id, ())
            }
            self._slots[config.config_id] = (1 + config.cid_length, cipher_for(config).server_id, owners)

    def find(self, datagram: bytes) -> T | None:
        if len(datagram) < _LEAST_BYTES or datagram[0] >= LONG_FORM:
            return None
        slot = self._slots[datagram[1] >> 5]
        if slot is None:
            return None
        end, server_id, owners = slot
        return owners.get(server_id(datagram[2:end])) if len(datagram) >= end else None


_LEAST_BYTES = 2
