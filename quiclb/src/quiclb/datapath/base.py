"""The base class of datapaths, which move datagrams between the clients' side (VIP) and the backends' side (inner).

A datapath is chosen by name (`[forwarder] datapath`), which is that of an entry point in the group `quiclb.datapaths`:
see `quiclb.datapath.loading`. `quiclb.testing.datapath_contract` tests any of them.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from quiclb.datapath.counters import DatapathCounters
from quiclb.net.address import Address
from quiclb.net.spp import SppHeader
from quiclb.routing.table import RoutingTable

Datagrams = Sequence[tuple[bytes, Address]]
"""A batch: payloads with the address each came from or goes to."""

Replies = Sequence[tuple[bytes, SppHeader]]
"""Payloads for clients; each header names the client, and the VIP's address to send from if that is a wildcard."""


class Side(StrEnum):
    """The two sockets."""

    VIP = "vip"
    INNER = "inner"


@dataclass(frozen=True, slots=True)
class SocketPair:
    """The two bound sockets of one datapath."""

    vip: socket.socket
    inner: socket.socket

    def close(self) -> None:
        self.vip.close()
        self.inner.close()


@dataclass(frozen=True, slots=True)
class DatapathEvents:
    """Callbacks of a datapath; each may be called from any thread and returns at once.

    `refused` takes the address of a backend that ICMP errors say is unreachable; `too_large` reports a datagram beyond
    the MTU of the path to a backend; `failed` takes the exception that ended forwarding.
    """

    refused: Callable[[Address], None] = lambda address: None
    too_large: Callable[[], None] = lambda: None
    failed: Callable[[BaseException], None] = lambda error: None


@dataclass(frozen=True, slots=True)
class DatapathSetup:
    """What a datapath is started with: the addresses to bind, port 0 for any free one.

    If `sockets` is given it is bound already, and takes precedence. `is_own_ip` tells which IP addresses a wildcard
    VIP, such as 0.0.0.0, stands for. Loopback clients are for tests and demonstrations on one machine.
    """

    listen: Address
    inner: Address
    sockets: SocketPair | None = None
    is_loopback_allowed: bool = False
    is_own_ip: Callable[[str], bool] = lambda ip: False
    events: DatapathEvents = field(default_factory=DatapathEvents)


class Datapath(ABC):
    """One datapath: made without arguments, then `start`, `install` at each change of the table, and `close`.

    A datapath that decides in Python keeps a `ForwardingRules`. One that pushes its table elsewhere, as into the maps
    of a kernel program, takes it as plain data: `table.as_data()`.
    """

    @property
    @abstractmethod
    def vip(self) -> Address:
        """The address that clients send to, with the port really bound; valid after `start`."""

    @property
    @abstractmethod
    def inner(self) -> Address:
        """The address that backends reply to, with the port really bound; valid after `start`."""

    @property
    @abstractmethod
    def counters(self) -> DatapathCounters:
        """All totals since `start`, readable from any thread and after `close`; callers do not change them."""

    @abstractmethod
    async def start(self, setup: DatapathSetup) -> None:
        """Bind or take over the sockets; raises `StartError` and then leaves nothing open. Forwards nothing yet."""

    @abstractmethod
    def install(self, table: RoutingTable) -> None:
        """Route by `table` from the next datagram on; the first call starts forwarding. Does not block.

        A datagram sees the old table or the new one. Totals of backends that `table` lacks are forgotten.
        """

    @abstractmethod
    async def close(self) -> None:
        """Stop and release the sockets; idempotent, and allowed before `start`."""

    def receive_drops(self, side: Side) -> int | None:
        """Datagrams dropped because the receive queue of `side` was full; `None` if unknown."""
        return None
