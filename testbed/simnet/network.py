"""A UDP network in memory: hosts with links, address translators, and routes that several hosts share."""

from __future__ import annotations

import contextvars
import errno
import heapq
import random
import weakref
import zlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from testbed.errors import NotSimulatedError
from testbed.simnet.addresses import Address
from testbed.simnet.links import Link, Profile
from testbed.simnet.loop import VirtualLoop
from testbed.simnet.nat import Nat
from testbed.simnet.process import PROCESS, Process
from testbed.trace import Trace

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
LOOPBACK_DELAY_S: Final = 20e-6


class Port:
    """A bound UDP socket: what the network delivers to, and what it sends from."""

    def __init__(self, host: Host, address: Address, remote: Address | None) -> None:
        self.host = host
        self.process = host.process
        self.address = address
        self.remote = remote
        self.context = contextvars.copy_context()
        self.on_datagram: Callable[[bytes, Address], None] = lambda data, source: None
        self.on_error: Callable[[OSError], None] = lambda error: None
        self.is_open = True

    def send(self, data: bytes, to: Address | None) -> None:
        """Send to a peer, or to the one it is connected to."""
        target = to if to is not None else self.remote
        if target is None:
            raise OSError(errno.EDESTADDRREQ, "the socket is not connected and no address was given")
        if self.is_open:
            self.host.network.send(self, data, target)

    def close(self) -> None:
        """Stop receiving; the address is free again."""
        self.is_open = False
        self.host.unbind(self)


class Host:
    """A machine with addresses, one link, and one process at a time."""

    def __init__(self, network: Network, name: str, addresses: list[str], link: Link, nat: Nat[Host] | None) -> None:
        self.network = network
        self.name = name
        self.addresses = addresses
        self.link = link
        self.nat = nat
        self.process = Process(name)
        self._ports: dict[Address, list[Port]] = {}
        self._next_port = 50_000

    @property
    def address(self) -> str:
        """The source address of sockets bound to no particular one."""
        return self.addresses[0]

    def run(self, coroutine: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Start a coroutine in this host's process."""
        return self.network.loop.create_task(coroutine, name=name, context=self.process.context())

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in this host's process."""
        return self.process.context().run(function, *args)

    def kill(self) -> None:
        """SIGKILL the process: its sockets vanish, its code never runs again; what it sent is still on its way."""
        self.network.note("killed", self.name)
        self.network.loop.kill(self.process)
        self._ports.clear()
        self.process = Process(self.name)

    def readdress(self, address: str) -> None:
        """Another network: the first address is replaced; sockets bound to no particular one send from the new one."""
        self.network.note("readdress", f"{self.name} {self.address} -> {address}")
        old, self.addresses[0] = self.addresses[0], address
        self.network.unroute(old)
        self.network.route(address, self)

    def bind(self, address: Address, remote: Address | None, *, is_shared: bool = False) -> Port:
        """Bind a socket; port 0 takes the next free one."""
        if address.host and address.host not in self.addresses and not address.host.startswith("127."):
            raise OSError(errno.EADDRNOTAVAIL, f"{self.name} has no address {address.host}")
        if address.port == 0:
            self._next_port += 1
            address = Address(address.host, self._next_port)
        ports = self._ports.setdefault(address, [])
        if ports and not is_shared:
            raise OSError(errno.EADDRINUSE, f"{self.name} has {address} bound")
        port = Port(self, address, remote)
        ports.append(port)
        return port

    def unbind(self, port: Port) -> None:
        """Free the port's address."""
        ports = self._ports.get(port.address, [])
        if port in ports:
            ports.remove(port)

    def port_for(self, to: Address, source: Address) -> Port | None:
        """The socket a datagram belongs to: a connected one first, as the kernel scores them."""
        candidates = [*self._ports.get(to, ()), *self._ports.get(Address("", to.port), ())]
        connected = [port for port in candidates if port.remote == source]
        return next(iter(connected or [port for port in candidates if port.remote is None]), None)

    def open_ports(self) -> list[Port]:
        """Every socket of the process that is not closed."""
        return [port for ports in self._ports.values() for port in ports]


class Ecmp:
    """A route that several hosts share; it sprays packet by packet, or keeps a 4-tuple at one host."""

    def __init__(self, members: list[Host], *, is_spraying: bool = True) -> None:
        self.members = members
        self.is_spraying = is_spraying

    def choose(self, source: Address, to: Address, rng: random.Random) -> Host:
        if self.is_spraying:
            return rng.choice(self.members)
        return self.members[zlib.crc32(f"{source} {to}".encode()) % len(self.members)]


@dataclass(slots=True)
class Datagram:
    data: bytes
    source: Address
    to: Address
    sender: Port

    def __str__(self) -> str:
        return f"{self.source} -> {self.to} {len(self.data)} {zlib.crc32(self.data):08x}"


class Network:
    """Carries datagrams from link to link: the sender's up, then the receiver's down, in the middle the routes."""

    def __init__(self, loop: VirtualLoop, rng: random.Random, trace: Trace) -> None:
        self.loop = loop
        self.rng = rng
        self.trace = trace
        self.hosts: dict[str, Host] = {}
        self._routes: dict[str, Host | Nat[Host] | Ecmp] = {}
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._event_count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._context = contextvars.Context()
        _NETWORKS[loop] = self

    def host(
        self, name: str, *addresses: str, up: Profile, down: Profile | None = None, nat: Nat[Host] | None = None
    ) -> Host:
        """Add a host; its first address is behind the `nat` where there is one, all others are routed to it."""
        host = Host(self, name, list(addresses), Link(up, down), nat)
        self.hosts[name] = host
        for address in addresses if nat is None else addresses[1:]:
            self._routes.setdefault(address, host)
        return host

    def nat(self, address: str, *, lifetime_s: float = 120.0, first_port: int = 40_001) -> Nat[Host]:
        """Add an address translator; give it to the hosts behind it."""
        nat: Nat[Host] = Nat(address, lifetime_s=lifetime_s, first_port=first_port)
        self.route(address, nat)
        return nat

    def route(self, address: str, target: Host | Nat[Host] | Ecmp) -> None:
        """Datagrams to this address go there from now on."""
        self._routes[address] = target

    def unroute(self, address: str) -> None:
        """Datagrams to this address are lost from now on."""
        self._routes.pop(address, None)

    def host_of(self, address: str) -> Host | None:
        """The host of the running process if it has this address (or none is asked for), else whichever has it."""
        process = PROCESS.get()
        current = next((host for host in self.hosts.values() if host.process is process), None)
        if current is not None or not address:
            return current
        return next((host for host in self.hosts.values() if address in host.addresses), None)

    def note(self, event: str, detail: str) -> None:
        """Put an event of the scenario into the trace."""
        self.trace.add(self.loop.elapsed(), event, detail)

    def send(self, port: Port, data: bytes, to: Address) -> None:
        """Put a datagram on its way."""
        host, now = port.host, self.loop.time()
        is_local = to.host in host.addresses or to.host.startswith("127.")
        source = Address(port.address.host or (to.host if is_local else host.address), port.address.port)
        if host.nat is not None and source.host == host.address:
            source = host.nat.outward(host, source, to, now)
        datagram = Datagram(data, source, to, port)
        self.note("sent", str(datagram))
        if is_local:
            self._at(now + LOOPBACK_DELAY_S, self._deliver, host, to, datagram)
        else:
            self._carry(datagram, host.link.up.carry(now, len(data), self.rng), self._route, datagram)

    def _route(self, datagram: Datagram) -> None:
        host, to = self._routes.get(datagram.to.host), datagram.to
        if isinstance(host, Ecmp):
            host = host.choose(datagram.source, datagram.to, self.rng)
        elif isinstance(host, Nat):
            mapping = host.inward(datagram.to, datagram.source, self.loop.time())
            if mapping is None:
                return self._drop(datagram, "filtered")
            host, to = mapping.host, mapping.inside
        if host is None:
            return self._drop(datagram, "no route")
        arrivals = host.link.down.carry(self.loop.time(), len(datagram.data), self.rng)
        return self._carry(datagram, arrivals, self._deliver, host, to, datagram)

    def _carry(self, datagram: Datagram, arrivals: list[float] | str, then: Callable[..., None], *args: Any) -> None:
        if isinstance(arrivals, str):
            return self._drop(datagram, arrivals)
        for arrival in arrivals:
            self._at(arrival, then, *args)
        return None

    def _deliver(self, host: Host, to: Address, datagram: Datagram) -> None:
        port = host.port_for(to, datagram.source)
        if port is None:
            self._drop(datagram, "refused")
            back_s = host.link.up.profile.delay_s + datagram.sender.host.link.down.profile.delay_s
            return self._at(self.loop.time() + back_s, self._report_refusal, datagram.sender)
        self.note("received", str(datagram))
        return self._enter(port, port.on_datagram, datagram.data, datagram.source)

    def _report_refusal(self, sender: Port) -> None:
        """ICMP port unreachable; an unconnected socket gets no error."""
        if sender.is_open and sender.process.is_alive and sender.remote is not None:
            self._enter(sender, sender.on_error, ConnectionRefusedError(errno.ECONNREFUSED, "connection refused"))

    def _enter(self, port: Port, callback: Callable[..., None], *args: Any) -> None:
        try:
            port.context.run(callback, *args)
        except Exception as error:
            self.loop.call_exception_handler({"message": f"{callback!r} raised", "exception": error})

    def _drop(self, datagram: Datagram, reason: str) -> None:
        self.note(reason, str(datagram))

    def _at(self, when: float, action: Callable[..., None], *args: Any) -> None:
        """Events of one instant happen in the order in which they were made, unlike timers of one instant."""
        self._event_count += 1
        heapq.heappush(self._events, (when, self._event_count, action, args))
        if self._timer is None or when < self._timer.when():
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(self._events[0][0], self._run_due, context=self._context)

    def _run_due(self) -> None:
        self._timer = None
        while self._events and self._events[0][0] <= self.loop.time():
            _, _, action, args = heapq.heappop(self._events)
            action(*args)
        if self._events and self._timer is None:
            self._arm()


def network_of(loop: asyncio.AbstractEventLoop) -> Network:
    """The network that was made on a loop."""
    network = _NETWORKS.get(loop)
    if network is None:
        raise NotSimulatedError("the loop has no network")
    return network


_NETWORKS: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Network]] = weakref.WeakKeyDictionary()
