"""A UDP relay in front of a server, which can drop datagrams of some addresses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

Address = tuple[str, int]


class Relay(asyncio.DatagramProtocol):
    """Gives each caller a socket of its own towards the server."""

    def __init__(self, server: Address) -> None:
        self.swallowed_hosts: set[str] = set()
        self.is_mute = False
        """Swallow what the server says."""
        self._server = server
        self._cut: set[Address] = set()
        self._front: asyncio.DatagramTransport | None = None
        self._backs: dict[Address, _Back] = {}

    @property
    def port(self) -> int:
        assert self._front is not None
        return int(self._front.get_extra_info("sockname")[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._front = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if addr[0] in self.swallowed_hosts or addr in self._cut:
            return
        if addr not in self._backs:
            self._backs[addr] = _Back(self, self._server, addr)
        self._backs[addr].send(data)

    def passes_back(self) -> bool:
        """Whether the server's datagrams get through now."""
        return not self.is_mute

    def pass_back(self, data: bytes, caller: Address) -> None:
        """Give a caller what the server says, if it gets through."""
        assert self._front is not None
        if not self._front.is_closing() and self.passes_back():
            self._front.sendto(data, caller)

    def cut(self) -> None:
        """Drop all datagrams of the sockets that callers use now."""
        self._cut.update(self._backs)

    def renew(self) -> None:
        """Forget where callers come from: each goes on from another port, as behind a NAT that was restarted."""
        backs, self._backs = self._backs, {}
        for back in backs.values():
            back.close()

    def relay_to(self, server: Address | None) -> None:
        """Relay to another server from now on; datagrams of the one before are dropped."""
        assert server is not None
        self._server = server
        self.renew()

    def close(self) -> None:
        assert self._front is not None
        self._front.close()
        self.renew()


class _Back(asyncio.DatagramProtocol):
    """The socket towards the server for one caller. What comes before it is open waits; it may be closed any time."""

    def __init__(self, relay: Relay, server: Address, caller: Address) -> None:
        self._relay = relay
        self._caller = caller
        self._waiting: list[bytes] = []
        self._transport: asyncio.DatagramTransport | None = None
        self._opening = asyncio.create_task(self._open(server))

    def send(self, data: bytes) -> None:
        if self._transport is None:
            self._waiting.append(data)
        else:
            self._transport.sendto(data)

    def close(self) -> None:
        self._opening.cancel()
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._relay.pass_back(data, self._caller)

    async def _open(self, server: Address) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, remote_addr=server)
        for data in self._waiting:
            self._transport.sendto(data)


@asynccontextmanager
async def relaying(server: Address | None) -> AsyncIterator[Relay]:
    """Relay to a worker's address, which is `None` where it does not listen: that is a fault of the test."""
    assert server is not None
    loop = asyncio.get_running_loop()
    _, relay = await loop.create_datagram_endpoint(lambda: Relay(server), local_addr=("127.0.0.1", 0))
    try:
        yield relay
    finally:
        relay.close()
