"""What code under test sees of the network: datagram transports, and UDP sockets in place of the real ones."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from testbed.errors import NotSimulatedError
from testbed.simnet.addresses import Address, canonical, named
from testbed.simnet.network import Network, Port, network_of


class SimSocket:
    """Takes the place of `socket.socket` for UDP: non-blocking, options are kept and have no effect."""

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: Any = None) -> None:
        if type & 0xF != socket.SOCK_DGRAM or family not in (socket.AF_INET, socket.AF_INET6):
            raise NotSimulatedError(f"a simulation has UDP sockets only, not family {family}, type {type}")
        self.family = family
        self.type = type
        self.proto = proto
        self.port: Port | None = None
        self.is_closed = False
        self._options: dict[tuple[int, int], Any] = {}
        self._received: deque[tuple[bytes, tuple[Any, ...]]] = deque()
        self._error: OSError | None = None
        self._reader: Callable[[], None] | None = None

    def setsockopt(self, level: int, option: int, value: Any, *_: Any) -> None:
        self._options[level, option] = value

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        return bytes(size) if size else self._options.get((level, option), 0)

    def setblocking(self, flag: bool) -> None:
        if flag:
            raise NotSimulatedError("a blocking socket would stop the simulation")

    def bind(self, name: tuple[Any, ...]) -> None:
        is_shared = bool(self._options.get((socket.SOL_SOCKET, getattr(socket, "SO_REUSEPORT", -1))))
        self.port = _bind(network_of(asyncio.get_running_loop()), canonical(name), None, is_shared=is_shared)
        self.port.on_datagram = self._on_datagram
        self.port.on_error = self._on_error

    def connect(self, name: tuple[Any, ...]) -> None:
        self._bound().remote = canonical(name)

    def getsockname(self) -> tuple[Any, ...]:
        return named(self.port.address if self.port else Address("", 0), self.family)

    def getpeername(self) -> tuple[Any, ...]:
        if self.port is None or self.port.remote is None:
            raise OSError(errno.ENOTCONN, "the socket is not connected")
        return named(self.port.remote, self.family)

    def send(self, data: bytes) -> int:
        self._bound().send(bytes(data), None)
        return len(data)

    def sendto(self, data: bytes, *args: Any) -> int:
        self._bound().send(bytes(data), canonical(args[-1]))
        return len(data)

    def recvfrom(self, size: int, *_: Any) -> tuple[bytes, tuple[Any, ...]]:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if not self._received:
            raise BlockingIOError(errno.EAGAIN, "nothing was received")
        data, source = self._received.popleft()
        return data[:size], source

    def recv(self, size: int, *_: Any) -> bytes:
        return self.recvfrom(size)[0]

    def close(self) -> None:
        self.is_closed = True
        self._reader = None
        if self.port is not None:
            self.port.close()

    def detach(self) -> int:
        raise NotSimulatedError("a simulated socket has no file descriptor to hand over")

    def fileno(self) -> int:
        return -1

    def set_reader(self, call_soon: Callable[..., Any], callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._reader = lambda: call_soon(self._read_ready, callback, args)
        if self._received:
            self._reader()

    def clear_reader(self) -> bool:
        had_reader, self._reader = self._reader is not None, None
        return had_reader

    def __enter__(self) -> SimSocket:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _bound(self) -> Port:
        if self.port is None:
            self.bind(("", 0))
        assert self.port is not None
        return self.port

    def _read_ready(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Level-triggered: called again while something is left."""
        if self._reader is None or not (self._received or self._error):
            return
        callback(*args)
        if self._reader is not None and self._received:
            self._reader()

    def _on_datagram(self, data: bytes, source: Address) -> None:
        self._received.append((data, named(source, self.family)))
        if self._reader is not None and len(self._received) == 1:
            self._reader()

    def _on_error(self, error: OSError) -> None:
        self._error = error
        if self._reader is not None:
            self._reader()


class SimTransport(asyncio.DatagramTransport):
    """An asyncio datagram transport on a simulated port."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, port: Port, protocol: asyncio.DatagramProtocol, sock: SimSocket
    ) -> None:
        remote = port.remote
        super().__init__(
            {
                "sockname": named(port.address, sock.family),
                "peername": named(remote, sock.family) if remote else None,
                "socket": sock,
            }
        )
        self._loop = loop
        self._port = port
        self._protocol = protocol
        self._sock = sock
        self._is_closing = False
        port.on_datagram = self._on_datagram
        port.on_error = protocol.error_received
        port.context.run(loop.call_soon, protocol.connection_made, self)

    def sendto(self, data: Any, addr: Any = None) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes-like, not {type(data).__name__}")
        if self._port.remote is not None and addr is not None and canonical(addr) != self._port.remote:
            raise ValueError(f"the transport is connected to {self._port.remote}, not {addr}")
        if not data or self._is_closing:
            return
        try:
            self._port.send(bytes(data), canonical(addr) if addr is not None else None)
        except OSError as error:
            self._protocol.error_received(error)

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._sock.close()
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered."""

    def _on_datagram(self, data: bytes, source: Address) -> None:
        if not self._is_closing:
            self._protocol.datagram_received(data, named(source, self._sock.family))


def open_endpoint(
    loop: asyncio.AbstractEventLoop,
    protocol_factory: Callable[[], asyncio.DatagramProtocol],
    local_addr: tuple[str, int] | None,
    remote_addr: tuple[str, int] | None,
    family: int,
    sock: SimSocket | None,
) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
    """What `create_datagram_endpoint` does, on the host whose process calls it."""
    if sock is None:
        names = [name for name in (local_addr, remote_addr) if name]
        is_v6 = family == socket.AF_INET6 or any(":" in str(name[0]) for name in names)
        sock = SimSocket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(local_addr or ("", 0))
        if remote_addr:
            sock.connect(remote_addr)
    elif not isinstance(sock, SimSocket):
        raise NotSimulatedError(f"{sock!r} is a real socket, made before the simulation began")
    port = sock._bound()
    protocol = protocol_factory()
    return SimTransport(loop, port, protocol, sock), protocol


def address_info(host: Any, port: int) -> list[Any]:
    """What `getaddrinfo` says of a literal address."""
    address = canonical((host or "", port))
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return [(family, socket.SOCK_DGRAM, socket.IPPROTO_UDP, "", named(address, family))]


def _bind(network: Network, address: Address, remote: Address | None, *, is_shared: bool) -> Port:
    host = network.host_of(address.host)
    if host is None:
        raise NotSimulatedError(f"nothing runs on a host here, so {address} cannot be bound: use Host.run")
    return host.bind(address, remote, is_shared=is_shared)
