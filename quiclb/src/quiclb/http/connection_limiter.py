"""Which TCP connections a server keeps when more come than it has room for. Sans-IO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

C = TypeVar("C", bound=Hashable)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections there may be at once, from accept to close.

    `waiting` ones have not sent a whole request yet, or only wait to be closed. A network is what the server counts
    as one client, such as an IPv4 address or an IPv6 /64.
    """

    total: int
    per_network: int
    waiting: int
    waiting_per_network: int

    @classmethod
    def share(cls, total: int, per_network: int | None = None) -> ConnectionLimits:
        """Give one network three quarters of `total` unless given, and a quarter, at most 256, to waiting."""
        waiting = max(1, min(256, total // 4))
        return cls(total, per_network or max(1, total * 3 // 4), waiting, max(1, waiting // 4))


@dataclass(frozen=True, slots=True)
class Admission(Generic[C]):
    """`refused` is why a connection gets no place (`address_limit`, `full`); `evicted` is which one makes room."""

    refused: str | None = None
    evicted: C | None = None


class ConnectionLimiter(Generic[C]):
    """Counts connections by network: `admit` at accept, `establish` with the request, `leave` at close.

    A newcomer beyond a limit takes the place of the longest waiting connection: its own network's where that network
    has all it may have, else that of the network with the most waiting connections. So a client that opens connections
    and is silent loses them, and an established connection is never closed for another.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._networks: dict[C, Hashable] = {}
        self._held: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, dict[C, None]] = {}
        self._waiting_count = 0

    def __len__(self) -> int:
        return len(self._networks)

    @property
    def waiting_count(self) -> int:
        return self._waiting_count

    def admit(self, connection: C, network: Hashable) -> Admission[C]:
        """Decide on a connection that was accepted; the evicted one, if any, has left already."""
        limits = self.limits
        own = self._waiting.get(network, {})
        evicted = None
        if self._held[network] >= limits.per_network or len(own) >= limits.waiting_per_network:
            if not own:
                return Admission("address_limit")
            evicted = next(iter(own))
        elif len(self._networks) >= limits.total or self._waiting_count >= limits.waiting:
            evicted = self.longest_waiting()
            if evicted is None:
                return Admission("full")
        if evicted is not None:
            self.leave(evicted)
        self._networks[connection] = network
        self._held[network] += 1
        self.wait(connection)
        return Admission(evicted=evicted)

    def longest_waiting(self) -> C | None:
        """Return the connection that is closed first where descriptors run out."""
        largest = max(self._waiting.values(), key=len, default=None)
        return None if largest is None else next(iter(largest))

    def establish(self, connection: C) -> None:
        """The connection made its request and goes on: it is not evicted any more."""
        network = self._networks.get(connection)
        waiting = self._waiting.get(network, {})
        if connection in waiting:
            del waiting[connection]
            self._waiting_count -= 1
            if not waiting:
                del self._waiting[network]

    def wait(self, connection: C) -> None:
        """The connection has no use any more but to be closed in good order: it may be evicted again."""
        network = self._networks.get(connection)
        waiting = self._waiting.setdefault(network, {})
        if connection in self._networks and connection not in waiting:
            waiting[connection] = None
            self._waiting_count += 1
        if not waiting:
            del self._waiting[network]

    def leave(self, connection: C) -> None:
        """The connection is closed, or will be at once; further calls for it do nothing."""
        if connection not in self._networks:
            return
        self.establish(connection)
        network = self._networks.pop(connection)
        self._held[network] -= 1
        if not self._held[network]:
            del self._held[network]
