"""One UDP socket on a wildcard address, on the event loop, that replies from the address each client called."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from quiclb.datapath.base import Replies
from quiclb.datapath.linux import pktinfo
from quiclb.datapath.linux.sockets import receive_drops
from quiclb.net.address import Address, ipv4_mapped, normalise

RECEIVE_BYTES: Final = 65536
AT_ONCE: Final = 64
"""How many datagrams are taken before others on the loop have their turn."""


class WildcardEndpoint:
    """Takes over a bound socket: `receive` gets each datagram, its sender, and the address it was sent to.

    `failed` is called with the error symbol of each datagram that was not sent. `close` closes the socket.
    """

    def __init__(
        self,
        sock: socket.socket,
        receive: Callable[[bytes, Address, Address], None],
        failed: Callable[[str], None],
    ) -> None:
        self.address: Final = normalise(sock.getsockname())
        self._socket = sock
        self._receive = receive
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._local_source = lru_cache(maxsize=1024)(pktinfo.local_source)
        sock.setblocking(False)
        pktinfo.ask(sock)
        self._loop.add_reader(sock.fileno(), self._readable)

    def receive_drops(self) -> int | None:
        return receive_drops(self._socket) if self._socket.fileno() >= 0 else None

    def reply(self, replies: Replies) -> None:
        """Send each payload to the client that its header names, from the address it names."""
        family = self._socket.family
        for payload, header in replies:
            ip, port = header.client
            target = (ipv4_mapped(ip) if family == socket.AF_INET6 else ip, port)
            try:
                self._socket.sendmsg([payload], self._local_source(header.proxy[0], family), 0, target)
            except OSError as error:
                self._failed(errno.errorcode.get(error.errno or 0, "other"))

    async def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(AT_ONCE):
            if self._socket.fileno() < 0:
                return
            try:
                datagram, control, _, client = self._socket.recvmsg(RECEIVE_BYTES, pktinfo.CONTROL_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self._failed(errno.errorcode.get(error.errno or 0, "other"))
                continue
            local_destination = pktinfo.local_destination(control)
            self._receive(datagram, normalise(client), (local_destination or self.address[0], self.address[1]))
