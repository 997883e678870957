"""A UDP socket on the event loop, whichever loop that is."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Protocol, cast

from quiclb.datapath.linux import pktinfo
from quiclb.net.address import is_wildcard
from quiclb.net.kernel.socket_options import PathMtu, set_path_mtu
from voice_gateway.endpoint.sockets.client_paths import FourTuple, SocketAddress
from voice_gateway.errors import BindError

_SO_RCVBUFFORCE = 33  # beyond net.core.rmem_max, where the process may
_MAX_DATAGRAM_BYTES: Final = 65536
_DATAGRAMS_AT_ONCE: Final = 32
"""How many are received before other callbacks of the event loop have their turn."""
_KNOWN_PATHS: Final = 4096


class DatagramSocket(asyncio.DatagramProtocol):
    """Receives into a callback and sends without waiting; `open` makes one."""

    def __init__(self, received: Callable[[bytes, Any], None], send_failed: Callable[[], None]) -> None:
        self._received = received
        self._send_failed = send_failed
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(
        cls,
        loop: asyncio.AbstractEventLoop,
        host: str,
        port: int,
        receive_buffer_bytes: int,
        received: Callable[[bytes, Any], None],
        send_failed: Callable[[], None],
    ) -> DatagramSocket:
        """Bind to `host` and `port`; raises `BindError`."""
        try:
            transport, protocol = await loop.create_datagram_endpoint(
                lambda: cls(received, send_failed), local_addr=(host, port)
            )
        except OSError as error:
            # uvloop hides the reason in the cause
            reason = getattr(error.__cause__, "strerror", None) or error.strerror or error
            raise BindError(f"UDP {host}:{port} cannot be opened: {reason}") from error
        raw = transport.get_extra_info("socket")
        if raw is not None:
            _tune(raw, receive_buffer_bytes)
        return protocol

    @property
    def address(self) -> tuple[str, int]:
        """Host and port as really bound."""
        name = self._transport.get_extra_info("sockname") if self._transport is not None else ("", 0)
        return name[0], name[1]

    def send(self, datagram: bytes, address: Any) -> None:
        """Send, or count a failure."""
        if self._transport is None or self._transport.is_closing():
            self._send_failed()
            return
        try:
            self._transport.sendto(datagram, address)
        except (OSError, ValueError):
            self._send_failed()

    def close(self) -> None:
        """Close once what was sent has left."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._received(data, addr)

    def error_received(self, exc: Exception) -> None:
        self._send_failed()


class WildcardSocket:
    """A UDP socket bound to `0.0.0.0` or `::`, which answers from the address that each client sent to.

    asyncio's transports do not show where a datagram was sent to, and the kernel would answer from the address it likes
    best. `received` gets a `FourTuple`, and `send` takes one.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        received: Callable[[bytes, Any], None],
        send_failed: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._received = received
        self._send_failed = send_failed
        self._buffer = memoryview(bytearray(_MAX_DATAGRAM_BYTES))
        self._path = lru_cache(maxsize=_KNOWN_PATHS)(_path)
        self._departure = lru_cache(maxsize=256)(pktinfo.local_source)
        loop.add_reader(sock.fileno(), self._readable)

    @classmethod
    def open(
        cls,
        loop: asyncio.AbstractEventLoop,
        host: str,
        port: int,
        receive_buffer_bytes: int,
        received: Callable[[bytes, Any], None],
        send_failed: Callable[[], None],
    ) -> WildcardSocket:
        """Bind to `host` and `port`; raises `BindError`."""
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            pktinfo.ask(sock)
            _tune(sock, receive_buffer_bytes)
            sock.bind((host, port))
        except OSError as error:
            sock.close()
            raise BindError(f"UDP {host}:{port} cannot be opened: {error.strerror or error}") from error
        return cls(loop, sock, received, send_failed)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port as really bound."""
        if self._socket.fileno() < 0:
            return "", 0
        name = self._socket.getsockname()
        return name[0], name[1]

    def send(self, datagram: bytes, address: FourTuple) -> None:
        """Send from `address.local`, or count a failure."""
        try:
            control = [] if address.local is None else self._departure(address.local, self._socket.family)
            self._socket.sendmsg([datagram], control, 0, address.remote)
        except (OSError, ValueError):
            self._send_failed()

    def close(self) -> None:
        """Close at once."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(_DATAGRAMS_AT_ONCE):
            if self._socket.fileno() < 0:  # a callback closed it
                return
            try:
                length, control, _, remote = self._socket.recvmsg_into([self._buffer], pktinfo.CONTROL_BYTES)
            except BlockingIOError:
                return
            except OSError:
                self._send_failed()  # what ICMP says of an earlier datagram
                continue
            self._received(bytes(self._buffer[:length]), self._path(tuple(control), remote))


class UdpSocket(Protocol):
    """A bound UDP socket; `send` takes the addresses that its `received` callback was given."""

    @property
    def address(self) -> tuple[str, int]: ...
    def send(self, datagram: bytes, address: Any) -> None: ...
    def close(self) -> None: ...


async def open_udp_socket(
    loop: asyncio.AbstractEventLoop,
    host: str,
    port: int,
    receive_buffer_bytes: int,
    received: Callable[[bytes, Any], None],
    send_failed: Callable[[], None],
) -> UdpSocket:
    """Bind to `host` and `port`; raises `BindError`. `received` gets a datagram and the path to `send` answers on."""
    if _is_wildcard(host) and sys.platform == "linux":
        return WildcardSocket.open(loop, host, port, receive_buffer_bytes, received, send_failed)
    return await DatagramSocket.open(loop, host, port, receive_buffer_bytes, received, send_failed)


def _is_wildcard(host: str) -> bool:
    try:
        return is_wildcard((host, 0))
    except ValueError:  # a name
        return False


def _path(control: tuple[tuple[int, int, bytes], ...], remote: SocketAddress) -> FourTuple:
    return FourTuple(remote[0], remote[1], remote, pktinfo.local_destination(control))


def _tune(raw: Any, receive_buffer_bytes: int) -> None:
    """Room for the packets of a stall, and don't-fragment; both are best effort."""
    for option in (socket.SO_RCVBUF, _SO_RCVBUFFORCE):
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, option, receive_buffer_bytes)
    with contextlib.suppress(OSError):
        set_path_mtu(raw, PathMtu.IGNORE_ICMP)
