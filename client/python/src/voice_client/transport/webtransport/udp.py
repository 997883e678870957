"""UDP sockets connected to the server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from voice_client.errors import InvalidSetting, Unreachable
from voice_client.transport.target import Target, parse_local_address

Address = tuple[str, int]


class UdpSocket(asyncio.DatagramProtocol):
    """A connected socket. Errors of the network are the business of QUIC's retransmission, but for a refusal.

    `refused` is called when the host says that the port is closed; it is not authenticated, so
    only a connection that is still being set up may act on it.
    """

    def __init__(self, received: Callable[[bytes], None], refused: Callable[[], None]) -> None:
        self._received = received
        self._refused = refused
        self._transport: asyncio.DatagramTransport | None = None
        self.local_address = "unknown"
        """`host:port` of this end, also after it was closed."""
        self.remote: Address | None = None
        """Where it is connected to."""

    @property
    def is_open(self) -> bool:
        """Whether `send` still does anything."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, data: bytes) -> None:
        """Send a datagram, or lose it."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data)

    def close(self) -> None:
        """Stop reading and sending."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        name = transport.get_extra_info("sockname")
        if name:
            self.local_address = format_address(name)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._received(data)

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, ConnectionRefusedError):
            self._refused()


async def open_socket(
    remote: Address, local_address: str | None, received: Callable[[bytes], None], refused: Callable[[], None]
) -> UdpSocket:
    """Open a socket on `local_address` (an IP address, with `:port` where wanted), or where the system likes.

    `InvalidSetting` where that is impossible.
    """
    loop = asyncio.get_running_loop()
    try:
        _, opened = await loop.create_datagram_endpoint(
            lambda: UdpSocket(received, refused),
            local_addr=None if local_address is None else parse_local_address(local_address),
            remote_addr=remote,
        )
    except (OSError, ValueError) as error:
        where = "a socket" if local_address is None else f"the local address {local_address}"
        raise InvalidSetting(f"cannot use {where} to reach {remote[0]}: {_sentence(error)}") from None
    return opened


def format_address(address: Address) -> str:
    """`host:port`, an IPv6 host in brackets."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def resolve(target: Target) -> list[Address]:
    """The addresses of a host, in the system's order of preference."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"cannot find the host {target.typed or target.host}: {_sentence(error)}") from None
    return list(dict.fromkeys((str(address[0]), int(address[1])) for *_, address in found))


def _sentence(error: Exception) -> str:
    return str((error.strerror if isinstance(error, OSError) else None) or error)
