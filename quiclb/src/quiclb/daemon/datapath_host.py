"""Runs a datapath: opens it by name, builds its tables off the forwarding path, and passes its events on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from quiclb.daemon.table_installer import TableInstaller, log_table
from quiclb.datapath.base import Datapath, DatapathEvents, DatapathSetup, Side, SocketPair
from quiclb.datapath.counters import DatapathCounters
from quiclb.datapath.loading import load_datapath
from quiclb.net.address import Address
from quiclb.net.kernel.routes import is_local_ip
from quiclb.routing.table import RoutingTable
from quiclb.routing.table_spec import TableSpec

REFUSALS_APART_S: Final = 0.02
"""The least time between two reports of one backend as refused: every datagram that it refuses says the same."""

TOO_LARGE_APART_S: Final = 1.0


class DatapathHost:
    """One datapath on the running event loop: `await open(...)`, then `serve`, `publish` at each change, and `stop`.

    `refused` is called in the event loop with the address of a backend that ICMP errors say is unreachable,
    `too_large` when a datagram did not fit the path to a backend; both at limited rates. Set them before `serve`.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.refused: Callable[[Address], None] = lambda address: None
        self.too_large: Callable[[], None] = lambda: None
        self._too_large_at = float("-inf")
        self._refused_at: dict[Address, float] = {}
        self._datapath: Datapath | None = None
        self._table: RoutingTable | None = None
        self._installer = TableInstaller(self._install)
        self._failure: asyncio.Future[BaseException] = self._loop.create_future()

    @property
    def datapath(self) -> Datapath:
        if self._datapath is None:
            raise RuntimeError("the datapath is not open")
        return self._datapath

    @property
    def table(self) -> RoutingTable:
        if self._table is None:
            raise RuntimeError("no table is installed")
        return self._table

    @property
    def counters(self) -> DatapathCounters:
        return self.datapath.counters

    def receive_drops(self, side: Side) -> int | None:
        """Datagrams dropped because the receive queue of `side` was full; `None` if unknown."""
        return self.datapath.receive_drops(side)

    async def open(
        self,
        name: str,
        listen: Address,
        inner: Address,
        *,
        sockets: SocketPair | None = None,
        is_loopback_allowed: bool = False,
    ) -> None:
        """Bind both addresses, or take over bound `sockets`; raises `StartError` and `ConfigError`."""
        datapath = load_datapath(name)()
        await datapath.start(
            DatapathSetup(
                listen,
                inner,
                sockets,
                is_loopback_allowed,
                lru_cache(maxsize=1024)(is_local_ip),
                DatapathEvents(self._tell_refused, self._tell_too_large, self._tell_failed),
            )
        )
        self._datapath = datapath

    def serve(self, table: RoutingTable) -> None:
        self._install(table)

    def publish(self, spec: TableSpec) -> None:
        """Take a checked spec; it is in effect soon, and datagrams flow meanwhile."""
        self._installer.publish(spec)

    async def failed(self) -> BaseException:
        """Wait until forwarding ends by itself and return why."""
        return await asyncio.shield(self._failure)

    async def stop(self) -> None:
        """Close the sockets; the counters stay readable."""
        await self._installer.stop()
        if self._datapath is not None:
            await self._datapath.close()

    def _install(self, table: RoutingTable) -> None:
        self.datapath.install(table)
        self._table = table
        log_table("table installed", table)
        self._refused_at = {}

    def _tell_refused(self, address: Address) -> None:
        """Called in the datapath's thread."""
        now = self._loop.time()
        if now - self._refused_at.get(address, 0.0) < REFUSALS_APART_S:
            return
        self._refused_at[address] = now
        self._loop.call_soon_threadsafe(self.refused, address)

    def _tell_too_large(self) -> None:
        """Called in the datapath's thread."""
        now = self._loop.time()
        if now - self._too_large_at < TOO_LARGE_APART_S:
            return
        self._too_large_at = now
        self._loop.call_soon_threadsafe(self.too_large)

    def _tell_failed(self, error: BaseException) -> None:
        """Called in the datapath's thread."""
        self._loop.call_soon_threadsafe(self._fail, error)

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_result(error)
