"""What the contract suite drives a datapath with: real UDP sockets, or a `MemoryDatapath` by hand."""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from quiclb.datapath.base import Datapath
from quiclb.datapath.memory import MemoryDatapath
from quiclb.net.address import Address

TIMEOUT_S: Final = 20.0
"""How long a datagram that must arrive may take."""
QUIET_S: Final = 0.05
"""How long the suite waits for a datagram that must not arrive."""


class DatapathDriver(ABC):
    """Clients and backends around one datapath, by their number from 0."""

    @abstractmethod
    async def open(self, backends: int, clients: int) -> None:
        """Make so many of each; the datapath is started later."""

    @abstractmethod
    def attach(self, datapath: Datapath) -> None:
        """Take the started datapath."""

    @abstractmethod
    def backend(self, number: int) -> Address: ...

    @abstractmethod
    def client(self, number: int) -> Address: ...

    @abstractmethod
    def client_sends(self, number: int, datagram: bytes) -> None:
        """Send to the VIP."""

    @abstractmethod
    def backend_sends(self, number: int, datagram: bytes) -> None:
        """Send to the inner side; a number beyond the last backend is an untrusted source."""

    @abstractmethod
    async def backend_received(self, number: int, timeout_s: float) -> bytes | None:
        """The next datagram at a backend; `None` if none comes."""

    @abstractmethod
    async def client_received(self, number: int, timeout_s: float = TIMEOUT_S) -> bytes | None:
        """The next datagram at a client; `None` if none comes."""

    @abstractmethod
    async def close(self) -> None: ...


class SocketDriver(DatapathDriver):
    """UDP sockets on 127.0.0.1; the last one is the untrusted source."""

    def __init__(self) -> None:
        self._backends: list[socket.socket] = []
        self._clients: list[socket.socket] = []
        self._vip: Address = ("", 0)
        self._inner: Address = ("", 0)

    async def open(self, backends: int, clients: int) -> None:
        self._backends = [_bound() for _ in range(backends + 1)]
        self._clients = [_bound() for _ in range(clients)]

    def attach(self, datapath: Datapath) -> None:
        self._vip, self._inner = datapath.vip, datapath.inner

    def backend(self, number: int) -> Address:
        address: Address = self._backends[number].getsockname()
        return address

    def client(self, number: int) -> Address:
        address: Address = self._clients[number].getsockname()
        return address

    def client_sends(self, number: int, datagram: bytes) -> None:
        self._clients[number].sendto(datagram, self._vip)

    def backend_sends(self, number: int, datagram: bytes) -> None:
        self._backends[number].sendto(datagram, self._inner)

    async def backend_received(self, number: int, timeout_s: float) -> bytes | None:
        return await _received(self._backends[number], timeout_s)

    async def client_received(self, number: int, timeout_s: float = TIMEOUT_S) -> bytes | None:
        return await _received(self._clients[number], timeout_s)

    async def close(self) -> None:
        for sock in (*self._backends, *self._clients):
            sock.close()


class MemoryDriver(DatapathDriver):
    """Puts datagrams into a `MemoryDatapath` and takes them out."""

    def __init__(self) -> None:
        self._datapath = MemoryDatapath()

    async def open(self, backends: int, clients: int) -> None:
        """Addresses need not be made."""

    def attach(self, datapath: Datapath) -> None:
        assert isinstance(datapath, MemoryDatapath)
        self._datapath = datapath

    def backend(self, number: int) -> Address:
        return ("127.0.0.1", 5000 + number)

    def client(self, number: int) -> Address:
        return ("127.0.0.1", 6000 + number)

    def client_sends(self, number: int, datagram: bytes) -> None:
        self._datapath.client_sends(datagram, self.client(number))

    def backend_sends(self, number: int, datagram: bytes) -> None:
        self._datapath.backend_sends(datagram, self.backend(number))

    async def backend_received(self, number: int, timeout_s: float) -> bytes | None:
        return _taken(self._datapath.to_backends, self.backend(number))

    async def client_received(self, number: int, timeout_s: float = TIMEOUT_S) -> bytes | None:
        return _taken(self._datapath.to_clients, self.client(number))

    async def close(self) -> None:
        """Nothing is open."""


def _bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


async def _received(sock: socket.socket, timeout_s: float) -> bytes | None:
    """Poll, as not every event loop has datagram sockets by `sock_recvfrom`; each try leaves the loop time."""
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout_s
    while True:
        try:
            return sock.recv(65536)
        except BlockingIOError:
            if loop.time() > until:
                return None
        await asyncio.sleep(0.001)


def _taken(sent: Sequence[tuple[bytes, Address]], address: Address) -> bytes | None:
    for number, (datagram, target) in enumerate(sent):
        if target == address and isinstance(sent, list):
            del sent[number]
            return datagram
    return None
