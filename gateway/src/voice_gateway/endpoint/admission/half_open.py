"""Connections whose handshake is not completed: places by network, and their timeouts. Sans-IO.

Places are shared by max-min fairness over networks. A client that finishes its handshake needs a place for a few round
trips; one that falls silent keeps it until the handshake timeout, so that few addresses could hold all of them.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class HalfOpenTable(Generic[T]):
    """Up to `max_places` connections, each with its network (`voice_gateway.net.network.network_of`) and age.

    `T` is hashable by identity. Times are the event loop's, in seconds, and never decrease between calls.
    """

    def __init__(self, max_places: int) -> None:
        self._max_places = max_places
        self._places: dict[T, tuple[bytes, float]] = {}  # the oldest first
        self._by_network: dict[bytes, dict[T, None]] = {}  # in each the oldest first

    def __len__(self) -> int:
        return len(self._places)

    @property
    def oldest_at(self) -> float | None:
        """When the oldest connection was added; `None` without any."""
        return next(iter(self._places.values()))[1] if self._places else None

    def held_by(self, network: bytes) -> int:
        """Return how many places the network has."""
        return len(self._by_network.get(network, ()))

    def add(self, connection: T, network: bytes, now: float) -> T | None:
        """Give `connection` a place; return the connection that loses its own for it, or `None`.

        With all places taken that is the oldest connection of the network that holds most, the newcomer counted;
        among networks that hold as many, the one whose oldest connection is the oldest of all.
        """
        self._places[connection] = network, now
        self._by_network.setdefault(network, {})[connection] = None
        if len(self._places) <= self._max_places:
            return None
        oldest_of_each = {network: next(iter(held)) for network, held in self._by_network.items()}
        largest = max(
            oldest_of_each,
            key=lambda each: (len(self._by_network[each]), -self._places[oldest_of_each[each]][1]),
        )
        evicted = oldest_of_each[largest]
        self.remove(evicted)
        return evicted

    def remove(self, connection: T) -> bool:
        """Free the place of a connection; return whether it had one."""
        place = self._places.pop(connection, None)
        if place is None:
            return False
        held = self._by_network[place[0]]
        del held[connection]
        if not held:
            del self._by_network[place[0]]
        return True

    def take_expired(self, now: float, timeout_s: float) -> list[T]:
        """Remove and return the connections that were added `timeout_s` ago or earlier, the oldest first."""
        expired = []
        for connection, (_, since) in self._places.items():
            if since + timeout_s > now:
                break
            expired.append(connection)
        for connection in expired:
            self.remove(connection)
        return expired
