"""What forwards: a table, the decisions by it, and the datapath that carries them out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from quiclb.daemon.table_installer import TableInstaller
from quiclb.datapath.asyncio_datapath import UserspaceDatapath, open_userspace
from quiclb.datapath.forwarding_rules import ForwardingRules
from quiclb.datapath.linux.sockets import SocketPair, open_sockets
from quiclb.datapath.vectorised.datapath import VectorisedDatapath
from quiclb.net.address import Address
from quiclb.net.kernel_routes import is_local_ip
from quiclb.routing.table import RoutingTable
from quiclb.routing.table_spec import TableSpec
from quiclb.settings.sections import DatapathKind

REFUSALS_APART_S: Final = 0.02
"""How soon a backend is named again: every datagram that it refuses says the same."""

TOO_LARGE_APART_S: Final = 1.0


class DatapathHost:
    """Forwards in the running event loop from `serve` until `stop`.

    `publish` changes the table. If forwarding ends by itself, which it never should, `failed` returns why. `refused` is
    called in the event loop with the backends where, by the network's word, nobody listens; `too_large` there when
    datagrams do not fit the path to a backend.
    """

    def __init__(
        self,
        datapath: UserspaceDatapath | VectorisedDatapath,
        table: RoutingTable,
        *,
        is_loopback_allowed: bool,
        refused: Callable[[Address], None],
        too_large: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._refused = refused
        self._too_large = too_large
        self._too_large_at = float("-inf")
        self._refused_at: dict[Address, float] = {}
        self.datapath = datapath
        self.rules = ForwardingRules(
            table,
            datapath.vip,
            datapath.inner,
            is_loopback_allowed=is_loopback_allowed,
            is_own_ip=lru_cache(maxsize=1024)(is_local_ip),
            refused=self._tell_refused,
            too_large=self._tell_too_large,
        )
        self._installer = TableInstaller(self._install)
        self._failure: asyncio.Future[BaseException] = self._loop.create_future()

    def serve(self) -> None:
        """Forward from now on."""
        if isinstance(self.datapath, VectorisedDatapath):
            self.datapath.serve(self.rules, self._fail)
        else:
            self.datapath.serve(self.rules)

    def publish(self, spec: TableSpec) -> None:
        """Take a checked spec; it is in effect soon, and datagrams flow meanwhile."""
        self._installer.publish(spec)

    async def failed(self) -> BaseException:
        """Wait until forwarding ends by itself and return why."""
        return await asyncio.shield(self._failure)

    async def stop(self) -> None:
        """Close the sockets; the counters stay readable."""
        await self._installer.stop()
        await self.datapath.close()

    def _install(self, table: RoutingTable) -> None:
        self.rules.table = table
        self._refused_at = {}
        self.rules.counters.keep_backends({backend.name for backend in table.pool})

    def _tell_refused(self, address: Address) -> None:
        """Called by the datapath's thread."""
        now = self._loop.time()
        if now - self._refused_at.get(address, 0.0) < REFUSALS_APART_S:
            return
        self._refused_at[address] = now
        self._loop.call_soon_threadsafe(self._refused, address)

    def _tell_too_large(self) -> None:
        """Called by the datapath's thread."""
        now = self._loop.time()
        if now - self._too_large_at < TOO_LARGE_APART_S:
            return
        self._too_large_at = now
        self._loop.call_soon_threadsafe(self._too_large)

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_result(error)


async def open_datapath(
    kind: DatapathKind, place: SocketPair | tuple[Address, Address]
) -> UserspaceDatapath | VectorisedDatapath:
    """Bind two addresses, VIP and inner, or take over bound sockets; raises `StartError`."""
    if isinstance(place, SocketPair):
        if kind is DatapathKind.VECTORISED:
            return VectorisedDatapath(place)
        return await open_userspace(place.vip, place.inner)
    if kind is DatapathKind.VECTORISED:
        return VectorisedDatapath(open_sockets(*place))
    return await open_userspace(*place)
