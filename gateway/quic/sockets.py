"""A UDP socket on the event loop, whichever loop that is."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, cast

from gateway.errors import BindError

_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_PROBE = 3  # set the don't-fragment bit, and ignore what ICMP says
_SO_RCVBUFFORCE = 33  # beyond net.core.rmem_max, where the process may


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
        receive_buffer_octets: int,
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
            _tune(raw, receive_buffer_octets)
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


def _tune(raw: Any, receive_buffer_octets: int) -> None:
    """Room for the packets of a stall, and don't-fragment; both are best effort."""
    for option in (socket.SO_RCVBUF, _SO_RCVBUFFORCE):
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, option, receive_buffer_octets)
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
    if raw.family == socket.AF_INET6:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
