"""A network address translator before one or more hosts: the mapping is by inner socket, the filter by outer peer.

That is endpoint-independent mapping with address- and port-dependent filtering (RFC 4787), what most homes have.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from testbed.simnet.addresses import Address

HostT = TypeVar("HostT")


@dataclass(slots=True)
class Mapping(Generic[HostT]):
    """One inner socket at the outside."""

    host: HostT
    inside: Address
    outside: Address
    last_used: float
    peers: set[Address] = field(default_factory=set)


class Nat(Generic[HostT]):
    """Translates for the hosts whose `nat` it is; an unused mapping lives `lifetime_s`.

    Ports are given from `first_port` upwards: draw it where a load balancer's hash should have a say.
    """

    def __init__(self, address: str, *, lifetime_s: float = 120.0, first_port: int = 40_001) -> None:
        self.address = address
        self.lifetime_s = lifetime_s
        self._next_port = first_port
        self._by_inside: dict[Address, Mapping[HostT]] = {}
        self._by_outside: dict[Address, Mapping[HostT]] = {}

    def outward(self, host: HostT, inside: Address, peer: Address, now: float) -> Address:
        """The outer source of a datagram that goes out; makes the mapping where there is none."""
        mapping = self._by_inside.get(inside)
        if mapping is None or now - mapping.last_used > self.lifetime_s:
            mapping = Mapping(host, inside, self._fresh_outside(), now)
            self._by_inside[inside] = self._by_outside[mapping.outside] = mapping
        mapping.last_used = now
        mapping.peers.add(peer)
        return mapping.outside

    def inward(self, outside: Address, peer: Address, now: float) -> Mapping[HostT] | None:
        """The mapping that a datagram from `peer` comes in by, or `None` where it is filtered."""
        mapping = self._by_outside.get(outside)
        if mapping is None or peer not in mapping.peers or now - mapping.last_used > self.lifetime_s:
            return None
        return mapping

    def rebind(self, *, address: str | None = None, keep_old: bool = False) -> None:
        """Every inner socket gets a new port (and address) with its next datagram.

        The old mappings are gone at once, or still let datagrams in where `keep_old`. A new `address` must be one that
        the network routes to this translator (`Network.route`).
        """
        self.address = address if address is not None else self.address
        self._by_inside.clear()
        if not keep_old:
            self._by_outside.clear()

    def outside_of(self, inside: Address) -> Address | None:
        """Where the inner socket is seen from outside now."""
        mapping = self._by_inside.get(inside)
        return mapping.outside if mapping else None

    def _fresh_outside(self) -> Address:
        port = self._next_port
        self._next_port += 1
        return Address(self.address, port)
