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
        self._backs: dict[Address, asyncio.Task[asyncio.DatagramTransport]] = {}

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
            self._backs[addr] = asyncio.create_task(self._open(addr))
        self._backs[addr].add_done_callback(lambda back: back.result().sendto(data))

    def passes_back(self) -> bool:
        """Whether the server's datagrams get through now."""
        return not self.is_mute

    def cut(self) -> None:
        """Drop all datagrams of the sockets that callers use now."""
        self._cut.update(self._backs)

    def renew(self) -> None:
        """Forget where callers come from: each goes on from another port, as behind a NAT that was restarted."""
        backs, self._backs = self._backs, {}
        for back in backs.values():
            back.result().close()

    def relay_to(self, server: Address | None) -> None:
        """Relay to another server from now on; datagrams of the one before are dropped."""
        assert server is not None
        self._server = server
        self.renew()

    async def _open(self, caller: Address) -> asyncio.DatagramTransport:
        front, relay = self._front, self
        assert front is not None

        class Back(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Address) -> None:
                if not front.is_closing() and relay.passes_back():
                    front.sendto(data, caller)

        back, _ = await asyncio.get_running_loop().create_datagram_endpoint(Back, remote_addr=self._server)
        return back

    def close(self) -> None:
        assert self._front is not None
        self._front.close()
        for back in self._backs.values():
            back.result().close()


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
