"""A UDP link with a delay and a NAT whose binding can change, between a caller and the load balancer.

It runs on the benchmark's own event loop, on loopback. The delay is exact to about a millisecond.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Self

Address = tuple[str, int]


@dataclass(slots=True)
class NatLink:
    """Use as `async with NatLink(upstream, delay_s) as link:` and send to `link.address`."""

    upstream: Address
    delay_s: float
    host: str = "127.0.0.1"
    is_black: bool = False
    """Swallow everything, both ways."""
    _cut: set[Address] = field(default_factory=set)
    address: Address = field(init=False)
    _inside: asyncio.DatagramTransport = field(init=False)
    _bindings: dict[Address, asyncio.DatagramTransport] = field(default_factory=dict)
    _pending: dict[Address, list[bytes]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._inside, _ = await loop.create_datagram_endpoint(lambda: _Inside(self), local_addr=(self.host, 0))
        host, port = self._inside.get_extra_info("sockname")[:2]
        self.address = (host, port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._inside.close()
        self.rebind()

    def rebind(self) -> None:
        """Forget every binding: the next datagram of each caller leaves from a new port."""
        for transport in self._bindings.values():
            transport.close()
        self._bindings.clear()

    def cut(self) -> None:
        """Swallow for good what comes from the sockets that callers use now."""
        self._cut.update(self._bindings)

    def outward(self, data: bytes, caller: Address) -> None:
        """Carry a caller's datagram to the upstream after the delay."""
        if self.is_black or caller in self._cut:
            return
        asyncio.get_running_loop().call_later(self.delay_s, self._send_up, data, caller)

    def inward(self, data: bytes, caller: Address) -> None:
        """Carry an answer back to its caller after the delay."""
        if self.is_black or caller in self._cut:
            return
        asyncio.get_running_loop().call_later(self.delay_s, self._send_down, data, caller)

    def _send_down(self, data: bytes, caller: Address) -> None:
        if not self._inside.is_closing():
            self._inside.sendto(data, caller)

    def _send_up(self, data: bytes, caller: Address) -> None:
        if self._inside.is_closing():
            return
        if (transport := self._bindings.get(caller)) is not None:
            transport.sendto(data)
        elif caller in self._pending:
            self._pending[caller].append(data)
        else:
            self._pending[caller] = [data]
            task = asyncio.get_running_loop().create_task(self._bind(caller))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _bind(self, caller: Address) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Outside(self, caller), remote_addr=self.upstream)
        self._bindings[caller] = transport
        for data in self._pending.pop(caller, ()):
            transport.sendto(data)


class _Inside(asyncio.DatagramProtocol):
    def __init__(self, link: NatLink) -> None:
        self._link = link

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._link.outward(data, addr)


class _Outside(asyncio.DatagramProtocol):
    def __init__(self, link: NatLink, caller: Address) -> None:
        self._link = link
        self._caller = caller

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._link.inward(data, self._caller)
