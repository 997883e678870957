"""The way of datagrams at low load: one at a time through the scalar core, without arrays.

A few datagrams leave sooner this way, above all when the caches are cold after a pause.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from typing import Final

from quiclb.address import Address, normalise
from quiclb.datapath import libc
from quiclb.datapath.base import Datagrams, Side
from quiclb.datapath.messages import PENDING_ERRORS
from quiclb.forwarder import ForwardingCore

MAX_DATAGRAM_OCTETS: Final = 2048
"""The longest datagram taken from a client; longer ones are dropped whole and counted as `EMSGSIZE`."""

_MAX_JOINED_OCTETS: Final = 65536
_CONTROL_OCTETS: Final = 64


class ScalarForwarder:
    """Receives from and sends to two sockets that do not block; `failed` hears of what was not sent and its errno."""

    def __init__(
        self, vip: socket.socket, inner: socket.socket, core: ForwardingCore, failed: Callable[[Side, int], None]
    ) -> None:
        self._vip, self._inner = vip, inner
        self._core = core
        self._failed = failed
        self._octets = memoryview(bytearray(_MAX_JOINED_OCTETS))

    def forward_client(self) -> bool:
        """Forward the next datagram of a client; false if none waits."""
        try:
            datagram, client = self._vip.recvfrom(MAX_DATAGRAM_OCTETS + 1)
        except OSError as error:
            return _is_passing(error)
        self.from_clients([(datagram, normalise(client))])
        return True

    def forward_backend(self) -> int | None:
        """Forward the next message of a backend; returns how many datagrams it held, or `None` if none waits."""
        try:
            length, control, _, source = self._inner.recvmsg_into([self._octets], _CONTROL_OCTETS)
        except OSError as error:
            return 0 if _is_passing(error) else None
        backend = normalise(source)
        size = _segment_length(control) or length or 1
        message = self._octets[:length]
        datagrams = [(bytes(message[at : at + size]), backend) for at in range(0, max(length, 1), size)]
        self.from_backends(datagrams)
        return len(datagrams)

    def from_clients(self, datagrams: Datagrams) -> None:
        """Forward what was received at the VIP, with one octet more than may pass where it is too long."""
        fitting = []
        for datagram in datagrams:
            if len(datagram[0]) <= MAX_DATAGRAM_OCTETS:
                fitting.append(datagram)
            else:
                self._failed(Side.INNER, errno.EMSGSIZE)
        self._send(self._inner, Side.INNER, self._core.from_clients(fitting))

    def from_backends(self, datagrams: Datagrams) -> None:
        """Forward what was received on the inner side."""
        self._send(self._vip, Side.VIP, self._core.from_backends(datagrams))

    def _send(self, sock: socket.socket, side: Side, datagrams: Datagrams) -> None:
        is_v6 = sock.family == socket.AF_INET6
        for datagram, address in datagrams:
            target = _mapped(address) if is_v6 else address
            try:
                sock.sendto(datagram, target)
            except OSError as error:
                self._send_again(sock, side, datagram, target, error.errno or 0)

    def _send_again(self, sock: socket.socket, side: Side, datagram: bytes, target: Address, error: int) -> None:
        """The error may be about an earlier datagram to somebody else; reporting it has cleared it."""
        if error in PENDING_ERRORS:
            try:
                sock.sendto(datagram, target)
                return
            except OSError as second:
                error = second.errno or 0
        self._failed(side, error)


def _mapped(address: Address) -> Address:
    ip, port = address
    return (ip if ":" in ip else f"::ffff:{ip}", port)


def _is_passing(error: OSError) -> bool:
    """Whether a receive call failed for the sake of an earlier datagram, and more may wait; raises what is worse."""
    if isinstance(error, BlockingIOError):
        return False
    if error.errno in PENDING_ERRORS:
        return True
    raise error


def _segment_length(control: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in control:
        if (level, kind) == (libc.SOL_UDP, libc.UDP_GRO):
            length: int = struct.unpack_from("=i", data)[0]
            return length
    return None
