"""Clients whose connection is about to be begun: few in each turn of the event loop, in rotation by network.

A first flight costs about two milliseconds, so that a burst of them would stall every call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from quiclb.net.fair_turns import FairTurns
from quiclb.routing.packet import LongHeader
from voice_gateway.endpoint.admission.address_validation import Admitted
from voice_gateway.endpoint.counters import EndpointCounters
from voice_gateway.endpoint.sockets.client_paths import Path, ProxyAddress
from voice_gateway.net.network import network_of

HANDSHAKES_PER_TURN: Final = 2
"""Connections that are begun in one turn of the event loop."""
MAX_WAITING_BYTES: Final = 1 << 20
"""Of datagrams of clients that wait to begin, with their keys and bookkeeping; beyond it the network with most of them
loses its newest client."""
MAX_WAITING_DATAGRAMS: Final = 10
"""Of one client: a first flight with early data."""
_DATAGRAM_OVERHEAD_BYTES: Final = 256
_KEYS_BYTES: Final = 4096

Datagram = tuple[bytes, Path, ProxyAddress | None]
"""A datagram, the path it came by, and the load balancer that forwarded it."""


@dataclass(slots=True, eq=False)
class PendingConnection:
    """One client: its first packet's header, how that packet was admitted, and its datagrams so far."""

    network: bytes
    header: LongHeader
    admitted: Admitted
    datagrams: list[Datagram]
    size: int


class PendingConnections:
    """Calls `begin` with each client in its turn; `call_soon` schedules a turn of the event loop."""

    def __init__(
        self,
        begin: Callable[[PendingConnection], None],
        counters: EndpointCounters,
        call_soon: Callable[[Callable[[], None]], Any],
    ) -> None:
        self._begin = begin
        self._counters = counters
        self._by_dcid: dict[bytes, PendingConnection] = {}
        self._turns: FairTurns[PendingConnection] = FairTurns(
            self._take,
            HANDSHAKES_PER_TURN,
            call_soon=call_soon,
            size_of=lambda pending: pending.size,
            max_bytes=MAX_WAITING_BYTES,
            on_drop=self._drop,
        )

    def __len__(self) -> int:
        return len(self._by_dcid)

    def find(self, dcid: bytes) -> PendingConnection | None:
        """Return the client whose first packet had this destination connection ID."""
        return self._by_dcid.get(dcid)

    def add(self, header: LongHeader, admitted: Admitted, datagram: Datagram) -> None:
        """Let a client wait for its turn."""
        size = len(datagram[0]) + _DATAGRAM_OVERHEAD_BYTES + _KEYS_BYTES
        pending = PendingConnection(network_of(datagram[1][0]), header, admitted, [datagram], size)
        self._by_dcid[header.dcid] = pending
        self._turns.submit(pending.network, pending)

    def extend(self, pending: PendingConnection, datagram: Datagram) -> None:
        """Keep another datagram of a client that waits; beyond `MAX_WAITING_DATAGRAMS` count it and drop it."""
        if len(pending.datagrams) >= MAX_WAITING_DATAGRAMS:
            self._counters.handshake_datagrams_dropped += 1
            return
        size = len(datagram[0]) + _DATAGRAM_OVERHEAD_BYTES
        pending.datagrams.append(datagram)
        pending.size += size
        self._turns.grow(pending.network, size)

    def clear(self) -> None:
        """Drop all waiting clients."""
        self._turns.clear()
        self._by_dcid.clear()

    def _take(self, pending: PendingConnection) -> None:
        del self._by_dcid[pending.header.dcid]
        self._begin(pending)

    def _drop(self, pending: PendingConnection) -> None:
        self._counters.handshake_datagrams_dropped += len(pending.datagrams)
        del self._by_dcid[pending.header.dcid]
