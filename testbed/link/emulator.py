"""Carries IP packets between the caller's and the server's namespace as a link would, on this process's event loop.

Delays are exact to about a millisecond while this process has a core to itself: run the programs in processes of
their own.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from testbed.link.namespace import Namespace
from testbed.link.packet import TCP, UDP, Packet, read
from testbed.simnet.addresses import Address
from testbed.simnet.links import IP_UDP_BYTES, Direction, Link, Profile
from testbed.simnet.nat import Nat

CALLER: Final = "10.99.0.1"
CALLER_AFTER_CHANGE: Final = "10.99.0.3"
SERVER: Final = "10.99.0.2"
_OUTSIDE: Final = ("198.51.100.1", "203.0.113.1")
"""The NAT's address before the caller's first and second network."""
_LARGEST_PACKET_BYTES: Final = 2_048
_NAMESPACE_FULL: Final = "the namespace takes no packet"


@dataclass(slots=True)
class LinkPath:
    """A link in both directions and the seed of what is drawn on it; `down` is like `up` where there is none.

    `byte_count` and `packets` are of what the programs sent since `EmulatedLink.start_counting`: bytes of IP packets
    by direction, and packets by direction and fate, such as `("up", "lost")`; `server_ports` are those that the server
    sent to the caller from since then, as (protocol, port).
    """

    up: Profile
    down: Profile | None = None
    seed: int = 1
    link: Link = field(init=False)
    rng: random.Random = field(init=False)
    byte_count: Counter[str] = field(init=False, default_factory=Counter)
    packets: Counter[tuple[str, str]] = field(init=False, default_factory=Counter)
    server_ports: set[tuple[int, int]] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.link = Link(self.up, self.down)
        self.rng = random.Random(self.seed)

    def direction(self, name: str) -> Direction:
        return self.link.up if name == "up" else self.link.down


class EmulatedLink:
    """Use as `async with EmulatedLink(path) as link:`; namespaces and devices are gone at its end.

    `by_port` gives ports of the server paths of their own, so that many calls run at once. With `has_nat` the server
    sees the caller behind a translator that filters by address and port. Addresses: `CALLER`, `SERVER`.
    """

    def __init__(self, path: LinkPath, *, by_port: Mapping[int, LinkPath] | None = None, has_nat: bool = False) -> None:
        self.path = path
        self._by_port = dict(by_port or {})
        prefix = f"link{os.getpid()}"
        self.caller = Namespace(f"{prefix}-{id(self) % 997}-caller", CALLER)
        self.server = Namespace(f"{prefix}-{id(self) % 997}-server", SERVER)
        self._network = 0
        self._nats: dict[int, tuple[Nat[int], Nat[int]]] = {}
        if has_nat:
            self._nats = {protocol: (Nat(_OUTSIDE[0]), Nat(_OUTSIDE[1])) for protocol in (TCP, UDP)}
        self._fds: list[int] = []

    async def __aenter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        loop = asyncio.get_running_loop()
        loop.add_reader(self._fds[0], self._read_caller)
        loop.add_reader(self._fds[1], self._read_server)
        return self

    async def __aexit__(self, *_: object) -> None:
        for fd in self._fds:
            asyncio.get_running_loop().remove_reader(fd)
        self._close()

    @property
    def paths(self) -> list[LinkPath]:
        return [self.path, *self._by_port.values()]

    def path_to(self, port: int) -> LinkPath:
        """The path of what goes to and from this port of the server."""
        return self._by_port.get(port, self.path)

    def start_counting(self) -> None:
        """Count bytes and packets from now on."""
        for path in self.paths:
            path.byte_count.clear()
            path.packets.clear()
            path.server_ports.clear()

    def black_out(self, seconds: float, *, after_s: float = 0.0, path: LinkPath | None = None) -> None:
        """Nothing passes for so long, both ways, on one path or on all."""
        begin = asyncio.get_running_loop().time() + after_s
        for each in self.paths if path is None else [path]:
            each.link.black_out(begin, begin + seconds)

    def rebind(self) -> None:
        """Forget the NAT's mappings: each flow leaves from a new port, and nothing comes in by the old one."""
        if not self._nats:
            raise ValueError("rebind() needs EmulatedLink(..., has_nat=True)")
        for nats in self._nats.values():
            nats[self._network].rebind()

    async def change_network(self) -> str:
        """Take the caller's address away and give it another; returns that.

        As where a telephone leaves its Wi-Fi: sockets stay, but what they send from the old address goes nowhere.
        """
        if self._network:
            raise ValueError("the caller's network changes only once")
        self._network = 1
        self.caller.address = CALLER_AFTER_CHANGE
        await asyncio.to_thread(self._readdress)
        return CALLER_AFTER_CHANGE

    def _readdress(self) -> None:
        self.caller.ip("address", "delete", CALLER, "peer", SERVER, "dev", "net0")
        self.caller.ip("address", "add", CALLER_AFTER_CHANGE, "peer", SERVER, "dev", "net0")
        self.caller.ip("route", "replace", "default", "dev", "net0", "src", CALLER_AFTER_CHANGE)

    def _open(self) -> None:
        for end in (self.caller, self.server):
            end.create()
            self._fds.append(end.add_tun("net0"))
        self.caller.ip("address", "add", CALLER, "peer", SERVER, "dev", "net0")
        self.server.ip("address", "add", SERVER, "dev", "net0")
        for end in (self.caller, self.server):
            end.ip("link", "set", "net0", "up")
            end.ip("route", "add", "default", "dev", "net0", "src", end.address)

    def _close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()
        for end in (self.caller, self.server):
            end.delete()

    def _read_caller(self) -> None:
        for packet in _packets(self._fds[0]):
            if packet.source.host != (CALLER, CALLER_AFTER_CHANGE)[self._network] or packet.to.host != SERVER:
                continue  # from an address that is gone, or a question for a name server
            data = packet.data
            if self._nats:
                now = asyncio.get_running_loop().time()
                nat = self._nats[packet.protocol][self._network]
                data = packet.from_source(nat.outward(self._network, packet.source, packet.to, now))
            self._carry("up", self.path_to(packet.to.port), data, self._fds[1])

    def _read_server(self) -> None:
        for packet in _packets(self._fds[1]):
            path = self.path_to(packet.source.port)
            inside = self._inside(packet)
            if inside is None:
                path.packets["down", "filtered"] += 1
                continue
            path.server_ports.add((packet.protocol, packet.source.port))
            data = packet.data if inside == packet.to else packet.to_destination(inside)
            self._carry("down", path, data, self._fds[0])

    def _inside(self, packet: Packet) -> Address | None:
        """Where in the caller's present network a packet goes, if it gets there."""
        if not self._nats:
            return packet.to if packet.to.host == self.caller.address else None
        nat = self._nats[packet.protocol][self._network]
        mapping = nat.inward(packet.to, packet.source, asyncio.get_running_loop().time())
        return mapping.inside if mapping else None

    def _carry(self, name: str, path: LinkPath, data: bytes, fd: int) -> None:
        loop = asyncio.get_running_loop()
        path.byte_count[name] += len(data)
        arrivals = path.direction(name).carry(loop.time(), len(data) - IP_UDP_BYTES, path.rng)
        if isinstance(arrivals, str):
            path.packets[name, arrivals] += 1
            return
        for at in arrivals:
            loop.call_at(at, self._write, name, path, data, fd)

    def _write(self, name: str, path: LinkPath, data: bytes, fd: int) -> None:
        try:
            os.write(fd, data)
        except OSError:  # its queue is full, or it is gone
            path.packets[name, _NAMESPACE_FULL] += 1
        else:
            path.packets[name, "delivered"] += 1


def _packets(fd: int) -> list[Packet]:
    """What waits to be read, of TCP and UDP over IPv4."""
    found: list[Packet] = []
    while True:
        try:
            data = os.read(fd, _LARGEST_PACKET_BYTES)
        except BlockingIOError:
            return found
        if (packet := read(data)) is not None:
            found.append(packet)
