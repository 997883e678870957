"""The sockets of one connection: one sends, all are read until they are dropped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from voice_client.transport.webtransport.udp import Address, UdpSocket, open_socket


class Sockets:
    """Each is connected to one address of the server; `received` gets that address with each datagram."""

    def __init__(self, received: Callable[[Address, bytes], None]) -> None:
        self._received = received
        self._all: list[UdpSocket] = []

    @property
    def has_any(self) -> bool:
        """Whether there is one to send through."""
        return bool(self._all)

    @property
    def leading(self) -> UdpSocket:
        """The one that the connection uses now."""
        return self._all[0]

    async def open(
        self, remote: Address, local_address: str | None, refused: Callable[[], None] = lambda: None
    ) -> UdpSocket:
        """Open one, to be added by `lead` or `keep`; raises `InvalidSetting`."""
        socket = await open_socket(remote, local_address, partial(self._received, remote), refused)
        socket.remote = remote
        return socket

    def lead(self, socket: UdpSocket) -> None:
        """Use this one from now on; the others are read as before."""
        if socket in self._all:
            self._all.remove(socket)
        self._all.insert(0, socket)

    def keep(self, socket: UdpSocket) -> None:
        """Read this one, too, and send through it what is for its address alone."""
        self._all.append(socket)

    def send(self, data: bytes, remote: Address) -> None:
        """Send through the newest socket to this address; without one the datagram is lost."""
        socket = next((each for each in self._all if each.remote == remote), None)
        if socket is not None:
            socket.send(data)

    def drop(self, socket: UdpSocket) -> None:
        """Read this one no more; the leading one only stops to be read."""
        socket.close()
        if socket in self._all[1:]:
            self._all.remove(socket)

    def to(self, remote: Address) -> list[UdpSocket]:
        """Those connected to this address."""
        return [each for each in self._all if each.remote == remote]

    def close(self) -> None:
        """Close all of them."""
        for socket in self._all:
            socket.close()
