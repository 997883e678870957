"""The virtual loop with the datagrams of a simulated network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from testbed.simnet.loop import VirtualLoop
from testbed.simnet.sockets import address_info, open_endpoint


class NetworkedLoop(VirtualLoop):
    """Gives code under test the UDP of the `Network` that is made on it."""

    async def create_datagram_endpoint(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.DatagramProtocol],
        local_addr: tuple[str, int] | None = None,
        remote_addr: tuple[str, int] | None = None,
        *,
        family: int = 0,
        sock: Any = None,
        **_options: Any,
    ) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
        endpoint = open_endpoint(self, protocol_factory, local_addr, remote_addr, family, sock)
        await asyncio.sleep(0)  # `connection_made` runs first, as asyncio has it
        return endpoint

    async def getaddrinfo(self, host: Any, port: Any, **_options: Any) -> list[Any]:
        return address_info(host, int(port or 0))

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        fd.set_reader(self.call_soon, callback, args)

    def remove_reader(self, fd: Any) -> bool:
        return bool(fd.clear_reader())
