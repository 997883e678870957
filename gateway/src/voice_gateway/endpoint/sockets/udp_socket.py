"""A UDP socket on the event loop, whichever loop that is."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final, cast

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


class UdpSocket(asyncio.DatagramProtocol):
    """A bound UDP socket: receives into a callback, and sends without waiting. `open` makes one.

    Bound to `0.0.0.0` or `::` on Linux, it answers from the address that each client sent to: `received` gets a
    `FourTuple`, and `send` takes one. asyncio's transports do not show where a datagram was sent to, and the kernel
    would answer from any address of the machine; so such a socket reads and writes by itself, with ancillary data.
    """

    def __init__(self, received: Callable[[bytes, Any], None], send_failed: Callable[[], None]) -> None:
        self._received = received
        self._send_failed = send_failed
        self._transport: asyncio.DatagramTransport | None = None
        self._wildcard: socket.socket | None = None
        self._stop_reading: Callable[[], object] = lambda: None

    @classmethod
    async def open(
        cls,
        loop: asyncio.AbstractEventLoop,
        place: tuple[str, int] | socket.socket,
        receive_buffer_bytes: int,
        received: Callable[[bytes, Any], None],
        send_failed: Callable[[], None],
    ) -> UdpSocket:
        """Bind to a host and port, or take a bound socket; raises `BindError`.

        `received` gets a datagram and the path to answer on.
        """
        opened = cls(received, send_failed)
        inherited = place if isinstance(place, socket.socket) else None
        host, port = place.getsockname()[:2] if isinstance(place, socket.socket) else place
        try:
            if _is_wildcard(host) and sys.platform == "linux":
                sock = inherited or _unbound(host)
                opened._wildcard = sock
                _prepare_wildcard(sock, receive_buffer_bytes)
                if inherited is None:
                    sock.bind((host, port))
                opened._read_by_itself(loop, sock)
            else:
                transport, _ = (
                    await loop.create_datagram_endpoint(lambda: opened, local_addr=(host, port))
                    if inherited is None
                    else await loop.create_datagram_endpoint(lambda: opened, sock=inherited)
                )
                raw = transport.get_extra_info("socket")
                if raw is not None:
                    _tune(raw, receive_buffer_bytes)
        except OSError as error:
            if opened._wildcard is not None:
                opened._wildcard.close()
            # uvloop hides the reason in the cause
            reason = getattr(error.__cause__, "strerror", None) or error.strerror or error
            raise BindError(f"UDP {host}:{port} cannot be opened: {reason}") from error
        return opened

    @property
    def address(self) -> tuple[str, int]:
        """Host and port as really bound; an empty host and 0 once a wildcard socket is closed."""
        if self._wildcard is not None:
            name = self._wildcard.getsockname() if self._wildcard.fileno() >= 0 else ("", 0)
        else:
            name = self._transport.get_extra_info("sockname") if self._transport is not None else ("", 0)
        return name[0], name[1]

    def send(self, datagram: bytes, address: Any) -> None:
        """Send to `address`, which `received` was given, or count a failure."""
        try:
            if self._wildcard is not None:
                control = [] if address.local is None else _local_source(address.local, self._wildcard.family)
                self._wildcard.sendmsg([datagram], control, 0, address.remote)
            elif self._transport is None or self._transport.is_closing():
                self._send_failed()
            else:
                self._transport.sendto(datagram, address)
        except (OSError, ValueError):
            self._send_failed()

    def close(self) -> None:
        """Close once what was sent has left; calling it again does nothing."""
        if self._transport is not None:
            self._transport.close()
        if self._wildcard is not None and self._wildcard.fileno() >= 0:
            self._stop_reading()
            self._wildcard.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._received(data, addr)

    def error_received(self, exc: Exception) -> None:
        self._send_failed()

    def _read_by_itself(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        descriptor = sock.fileno()
        loop.add_reader(descriptor, partial(self._readable, sock, memoryview(bytearray(_MAX_DATAGRAM_BYTES))))
        self._stop_reading = partial(loop.remove_reader, descriptor)

    def _readable(self, sock: socket.socket, buffer: memoryview) -> None:
        for _ in range(_DATAGRAMS_AT_ONCE):
            if sock.fileno() < 0:  # a callback closed it
                return
            try:
                length, control, _, remote = sock.recvmsg_into([buffer], pktinfo.CONTROL_BYTES)
            except BlockingIOError:
                return
            except OSError:
                self._send_failed()  # what ICMP says of an earlier datagram
                continue
            self._received(bytes(buffer[:length]), _path(tuple(control), remote))


def _is_wildcard(host: str) -> bool:
    try:
        return is_wildcard((host, 0))
    except ValueError:  # a name
        return False


def _unbound(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)


def _prepare_wildcard(sock: socket.socket, receive_buffer_bytes: int) -> None:
    sock.setblocking(False)
    pktinfo.ask(sock)
    _tune(sock, receive_buffer_bytes)


_local_source = lru_cache(maxsize=256)(pktinfo.local_source)


@lru_cache(maxsize=_KNOWN_PATHS)
def _path(control: tuple[tuple[int, int, bytes], ...], remote: SocketAddress) -> FourTuple:
    return FourTuple(remote[0], remote[1], remote, pktinfo.local_destination(control))


def _tune(raw: Any, receive_buffer_bytes: int) -> None:
    """Room for the packets of a stall, and don't-fragment; both are best effort."""
    for option in (socket.SO_RCVBUF, _SO_RCVBUFFORCE):
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, option, receive_buffer_bytes)
    with contextlib.suppress(OSError):
        set_path_mtu(raw, PathMtu.IGNORE_ICMP)
