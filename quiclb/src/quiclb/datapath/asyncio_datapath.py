"""The portable datapath: two UDP endpoints on the running event loop."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Callable
from typing import Any

from quiclb.datapath.base import Datagrams, Datapath, DatapathSetup, Replies, Side
from quiclb.datapath.counters import DatapathCounters
from quiclb.datapath.forwarding_rules import ForwardingRules
from quiclb.datapath.linux.sockets import RECEIVE_BUFFER_BYTES, forbid_fragments, open_socket, receive_drops
from quiclb.datapath.linux.wildcard import WildcardEndpoint
from quiclb.errors import StartError
from quiclb.net.address import Address, format_address, ipv4_mapped, is_ipv6, is_wildcard, normalise
from quiclb.net.kernel.bind_errors import explain_refusal
from quiclb.routing.table import RoutingTable


class AsyncioDatapath(Datapath):
    """ICMP errors and refused datagrams are counted and change nothing else."""

    def __init__(self) -> None:
        self._setup: DatapathSetup | None = None
        self._rules: ForwardingRules | None = None
        self._vip: _Endpoint | WildcardEndpoint = _Endpoint(Side.VIP, self._from_clients, self._failed)
        self._inner = _Endpoint(Side.INNER, self._from_backends, self._failed)

    @property
    def vip(self) -> Address:
        return self._vip.address

    @property
    def inner(self) -> Address:
        return self._inner.address

    @property
    def counters(self) -> DatapathCounters:
        return DatapathCounters() if self._rules is None else self._rules.counters

    async def start(self, setup: DatapathSetup) -> None:
        self._setup = setup
        try:
            await self._open(setup)
        except BaseException:
            await self.close()
            raise

    def install(self, table: RoutingTable) -> None:
        if self._rules is not None:
            self._rules.install(table)
        elif self._setup is not None:
            self._rules = ForwardingRules.of(self._setup, table, self.vip, self.inner)

    def receive_drops(self, side: Side) -> int | None:
        return (self._vip if side is Side.VIP else self._inner).receive_drops()

    async def close(self) -> None:
        await asyncio.gather(self._vip.close(), self._inner.close())

    async def _open(self, setup: DatapathSetup) -> None:
        given = setup.sockets
        await self._inner.open(given.inner if given else setup.inner)
        address = normalise(given.vip.getsockname()) if given else setup.listen
        if is_wildcard(address) and sys.platform == "linux":
            sock = given.vip if given else open_socket(setup.listen, Side.VIP)
            self._vip = WildcardEndpoint(sock, self._from_client, lambda error: self._failed(Side.VIP, error))
        elif isinstance(self._vip, _Endpoint):
            await self._vip.open(given.vip if given else setup.listen)

    def _from_clients(self, batch: Datagrams) -> None:
        if self._rules is not None:
            self._inner.send(self._rules.from_clients(batch))

    def _from_client(self, datagram: bytes, client: Address, vip: Address) -> None:
        if self._rules is not None:
            self._inner.send(self._rules.from_clients([(datagram, client)], vip))

    def _from_backends(self, batch: Datagrams) -> None:
        if self._rules is not None:
            self._vip.reply(self._rules.from_backends(batch))

    def _failed(self, side: Side, error: str) -> None:
        if self._rules is not None:
            self._rules.send_failed(side, error)


class _Endpoint(asyncio.DatagramProtocol):
    def __init__(self, side: Side, receive: Callable[[Datagrams], None], failed: Callable[[Side, str], None]) -> None:
        self.address: Address = ("", 0)
        self._side = side
        self._receive = receive
        self._failed = failed
        self._transport: asyncio.DatagramTransport | None = None
        self._closed: asyncio.Future[None] | None = None
        self._is_ipv6 = False
        self._is_paused = False

    async def open(self, place: Address | socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._closed = loop.create_future()
        if isinstance(place, socket.socket):
            address = normalise(place.getsockname())
            self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=place)
        else:
            address = place
            try:
                self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=place)
            except OSError as error:
                raise StartError(f"cannot listen on {format_address(place)}: {explain_refusal(error)}") from None
        self._is_ipv6 = is_ipv6(address)
        bound = self._transport.get_extra_info("sockname")
        self.address = normalise(bound) if bound else address
        if not isinstance(place, socket.socket):
            _set_options(self._transport.get_extra_info("socket"), self._side)

    async def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None and self._closed is not None:
            transport.abort()
            await self._closed

    def receive_drops(self) -> int | None:
        sock = self._transport.get_extra_info("socket") if self._transport is not None else None
        if sock is None or sys.platform != "linux":
            return None
        return receive_drops(sock)

    def send(self, batch: Datagrams) -> None:
        transport = self._transport
        if transport is None:
            return
        for datagram, (ip, port) in batch:
            if self._is_paused:
                self._failed(self._side, "ENOBUFS")
                continue
            try:
                transport.sendto(datagram, (ipv4_mapped(ip) if self._is_ipv6 else ip, port))
            except (OSError, ValueError) as error:
                self.error_received(error)

    def reply(self, replies: Replies) -> None:
        self.send([(payload, header.client) for payload, header in replies])

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._receive([(data, normalise((addr[0], addr[1])))])

    def error_received(self, exc: Exception) -> None:
        number = exc.errno if isinstance(exc, OSError) else None
        self._failed(self._side, errno.errorcode.get(number or 0, "other"))

    def pause_writing(self) -> None:
        """The socket takes no more and the loop's own buffer is full: drop, as a queue would only add delay."""
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)


def _set_options(sock: Any, side: Side) -> None:
    """Forbid fragments and ask for a large receive buffer; a loop without real sockets has none to set."""
    if sock is None or sys.platform != "linux":
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    forbid_fragments(sock, side)
