"""A datapath of lists, for tests and simulations."""

from __future__ import annotations

from quiclb.datapath.base import DatapathHandler, Side
from quiclb.net.address import Address


class MemoryDatapath:
    """Datagrams are put in by hand; what would be sent collects in `to_backends` and `to_clients`."""

    def __init__(self, vip: Address, inner: Address) -> None:
        self.vip = vip
        self.inner = inner
        self.to_backends: list[tuple[bytes, Address]] = []
        self.to_clients: list[tuple[bytes, Address]] = []
        self._handler: DatapathHandler | None = None

    def serve(self, handler: DatapathHandler) -> None:
        self._handler = handler

    def receive_drops(self, side: Side) -> int | None:
        return None

    async def close(self) -> None:
        self._handler = None

    def client_sends(self, datagram: bytes, client: Address) -> None:
        """Let a datagram of `client` arrive at the VIP."""
        if self._handler is not None:
            self.to_backends += self._handler.from_clients([(datagram, client)])

    def backend_sends(self, datagram: bytes, source: Address) -> None:
        """Let a datagram of `source` arrive on the inner side."""
        if self._handler is not None:
            replies = self._handler.from_backends([(datagram, source)])
            self.to_clients += [(payload, header.client) for payload, header in replies]
