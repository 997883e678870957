"""A datapath of lists, for tests and simulations."""

from __future__ import annotations

from quiclb.datapath.base import Datapath, DatapathSetup, Side
from quiclb.datapath.counters import DatapathCounters
from quiclb.datapath.forwarding_rules import ForwardingRules
from quiclb.net.address import Address
from quiclb.routing.table import RoutingTable


class MemoryDatapath(Datapath):
    """Datagrams are put in by hand; what would be sent collects in `to_backends` and `to_clients`."""

    def __init__(self) -> None:
        self.to_backends: list[tuple[bytes, Address]] = []
        self.to_clients: list[tuple[bytes, Address]] = []
        self._setup = DatapathSetup(("", 0), ("", 0))
        self._rules: ForwardingRules | None = None
        self._is_closed = False

    @property
    def vip(self) -> Address:
        return self._setup.listen

    @property
    def inner(self) -> Address:
        return self._setup.inner

    @property
    def counters(self) -> DatapathCounters:
        return DatapathCounters() if self._rules is None else self._rules.counters

    async def start(self, setup: DatapathSetup) -> None:
        self._setup = setup

    def install(self, table: RoutingTable) -> None:
        if self._rules is None:
            self._rules = ForwardingRules.of(self._setup, table, self.vip, self.inner)
        self._rules.install(table)

    async def close(self) -> None:
        self._is_closed = True

    def client_sends(self, datagram: bytes, client: Address) -> None:
        """Let a datagram of `client` arrive at the VIP."""
        if self._rules is not None and not self._is_closed:
            self.to_backends += self._rules.from_clients([(datagram, client)])

    def backend_sends(self, datagram: bytes, source: Address) -> None:
        """Let a datagram of `source` arrive on the inner side."""
        if self._rules is not None and not self._is_closed:
            replies = self._rules.from_backends([(datagram, source)])
            self.to_clients += [(payload, header.client) for payload, header in replies]

    def send_failed(self, side: Side, error: str) -> None:
        """Let a datagram of `side` fail with the symbol of an error, such as `EMSGSIZE`."""
        if self._rules is not None:
            self._rules.send_failed(side, error)
