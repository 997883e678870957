"""The decisions of a datapath without its sockets: datagrams in, datagrams and destinations out."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from quiclb.datapath.base import Datagrams, DatapathSetup, Replies, Side
from quiclb.datapath.counters import DatapathCounters
from quiclb.net.address import Address, is_ipv6, is_wildcard
from quiclb.net.spp import ClientFault, SppFault, SppHeader, client_fault, unwrap, wrap
from quiclb.routing.packet import PacketFault
from quiclb.routing.router import Drop, Fallback, route
from quiclb.routing.table import RoutingTable


class ReplyFault(StrEnum):
    """Why a datagram on the inner side is no reply to pass on. Values are metric labels, which keep their spelling."""

    UNTRUSTED_SOURCE = "stranger"
    WRONG_FAMILY = "client-wrong-family"
    WRONG_VIP = "vip-wrong-family"


class ForwardingRules:
    """Wraps what clients send for the backend that `route` names, and unwraps what backends answer.

    `vip` and `inner` are the two sockets' addresses. Assign `table` to change configs or backends: it takes effect
    with the next datagram. Loopback clients are for tests and demonstrations on one machine. `is_own_ip` tells which
    IP addresses a wildcard VIP, such as 0.0.0.0, stands for. `refused` is what a datapath calls, in its own thread,
    with the backends whose datagrams came back by ICMP, and `too_large` when a datagram did not fit the path to one.
    """

    def __init__(
        self,
        table: RoutingTable,
        vip: Address,
        inner: Address,
        *,
        is_loopback_allowed: bool = False,
        is_own_ip: Callable[[str], bool] = lambda ip: False,
        refused: Callable[[Address], None] = lambda address: None,
        too_large: Callable[[], None] = lambda: None,
    ) -> None:
        self.table = table
        self.vip = vip
        self.inner = inner
        self.counters = DatapathCounters()
        self.is_loopback_allowed = is_loopback_allowed
        self.refused = refused
        self._too_large = too_large
        self._is_own_ip = is_own_ip
        self.is_wildcard = is_wildcard(vip)
        self._has_both_families = vip[0] == "::"

    @classmethod
    def of(cls, setup: DatapathSetup, table: RoutingTable, vip: Address, inner: Address) -> ForwardingRules:
        """Return the rules of a datapath that was started with `setup` and has bound these addresses."""
        return cls(
            table,
            vip,
            inner,
            is_loopback_allowed=setup.is_loopback_allowed,
            is_own_ip=setup.is_own_ip,
            refused=setup.events.refused,
            too_large=setup.events.too_large,
        )

    def install(self, table: RoutingTable) -> None:
        """Route by `table` from the next datagram on, and forget the totals of backends that it lacks."""
        self.table = table
        self.counters.keep_backends({backend.name for backend in table.pool})

    def from_clients(self, batch: Datagrams, vip: Address | None = None) -> Datagrams:
        """Take datagrams with the clients that sent them to the VIP; return what the inner side must send, to whom.

        `vip` is the address they were sent to, if the VIP is a wildcard and the datapath can tell.
        """
        vip = vip or self.vip
        out = []
        for datagram, client in batch:
            fault = self.client_fault(client)
            if fault is not None:
                self.counters.packets["drop", fault] += 1
                continue
            decision = route(self.table, datagram, client, vip)
            if isinstance(decision, Drop):
                self.counters.packets["drop", decision.reason] += 1
                continue
            if isinstance(decision, Fallback):
                self.counters.packets["fallback", decision.reason] += 1
            else:
                self.counters.packets["routable", "ok"] += 1
            self.counters.backend_packets[decision.backend.name, "to"] += 1
            self.counters.backend_bytes[decision.backend.name, "to"] += len(datagram)
            out.append((wrap(SppHeader(client, vip), datagram), decision.backend.address))
        return out

    def from_backends(self, batch: Datagrams) -> Replies:
        """Take datagrams with their senders on the inner side; return what the VIP must send, to whom."""
        out = []
        for datagram, source in batch:
            backend = self.table.backends_by_address.get(source)
            if backend is None:
                self.counters.replies["drop", ReplyFault.UNTRUSTED_SOURCE] += 1
                continue
            self.counters.backend_packets[backend.name, "from"] += 1
            reply = self.open_reply(datagram)
            if isinstance(reply, StrEnum):
                self.counters.replies["drop", reply] += 1
                continue
            self.counters.replies["sent", "ok"] += 1
            self.counters.backend_bytes[backend.name, "from"] += len(reply[0])
            out.append(reply)
        return out

    def send_failed(self, side: Side, error: str) -> None:
        """Count a datagram the kernel would not send; `error` is a symbol such as `EMSGSIZE`."""
        self.counters.send_errors[side, error] += 1
        if side is Side.INNER and error == "EMSGSIZE":
            self._too_large()

    def open_reply(self, datagram: bytes) -> tuple[bytes, SppHeader] | StrEnum:
        """Take the header off a backend's datagram: what to send, to whom and from where, or why not. Counts nothing.

        A VIP that is no wildcard sends from its one address, not from the one in the header. A wildcard VIP leaves the
        choice to the kernel where the header names a wildcard.
        """
        opened = unwrap(datagram)
        if isinstance(opened, SppFault):
            return opened
        header, payload = opened
        if not payload:
            return PacketFault.EMPTY
        if not self._has_both_families and is_ipv6(header.client) != is_ipv6(self.vip):
            return ReplyFault.WRONG_FAMILY
        vip = self.vip
        if self.is_wildcard and not is_wildcard(header.proxy):
            vip = (header.proxy[0], self.vip[1])
            if is_ipv6(vip) != is_ipv6(header.client):
                return ReplyFault.WRONG_VIP
        return self.client_fault(header.client) or (payload, SppHeader(header.client, vip))

    def client_fault(self, client: Address) -> StrEnum | None:
        """Why nothing is taken from this address nor sent to it, or `None`."""
        fault = client_fault(client, self.vip, is_loopback_allowed=self.is_loopback_allowed)
        if fault is None and self.is_wildcard and client[1] == self.vip[1] and self._is_own_ip(client[0]):
            return ClientFault.IS_VIP
        return fault
