"""The UDP sockets that workers share one port by: one for each slot, bound in order, steered by a BPF program."""

from __future__ import annotations

import ctypes
import errno
import socket
import sys
from collections.abc import Sequence
from typing import Final, Self

from quiclb import QuicLbConfig
from quiclb.datapath.linux import pktinfo
from quiclb.net.address import Address, format_address, is_ipv6, is_wildcard, normalise
from quiclb.net.kernel.bind_errors import explain_refusal
from voice_gateway.errors import BindError
from voice_gateway.supervisor.steering.program import Steering, packed, steering_program

_SO_ATTACH_REUSEPORT_CBPF: Final = 51  # asm-generic/socket.h
_DISCARDED_AT_ONCE: Final = 65_536


class SteeredSockets:
    """A SO_REUSEPORT group: `bind` or `adopt` it, `steer` it, `close` it in the end.

    The kernel numbers the sockets of a group in the order in which they were bound, and moves the last one into the
    place of one that is closed. So all are bound and kept here, and a worker that is started again inherits its own:
    the numbers hold for the life of the group.
    """

    def __init__(self, sockets: Sequence[socket.socket], layout: QuicLbConfig) -> None:
        self.sockets = tuple(sockets)
        self._layout = layout

    @classmethod
    def bind(cls, key: str, address: Address, count: int, layout: QuicLbConfig) -> Self:
        """Bind `count` sockets; port 0 takes one free port for all. Raises `BindError` that names the setting `key`.

        An address that is in use is refused, also where its owner lets others bind beside it: datagrams would be
        dealt out among two services.
        """
        if sys.platform != "linux":
            raise BindError(f"{key}: the kernel steers datagrams on Linux only")
        sockets: list[socket.socket] = []
        try:
            with _socket(address) as probe:
                probe.bind(address)
                address = normalise(probe.getsockname())
            for _ in range(count):
                sock = _socket(address)
                sockets.append(sock)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if is_wildcard(address):
                    pktinfo.ask(sock)
                sock.bind(address)
        except OSError as error:
            for sock in sockets:
                sock.close()
            raise BindError(
                f"{key}: UDP {format_address(address)} cannot be opened: {explain_refusal(error)}"
            ) from error
        return cls(sockets, layout)

    @property
    def address(self) -> Address:
        return normalise(self.sockets[0].getsockname())

    def steer(self, steering: Steering) -> None:
        """Send datagrams where `steering` says from now on; the change is atomic. Raises `BindError`."""
        program = packed(steering_program(self._layout, steering))
        buffer = ctypes.create_string_buffer(program, len(program))
        descriptor = _SocketProgram(len(program) // 8, ctypes.addressof(buffer))
        try:
            self.sockets[0].setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, bytes(descriptor))
        except OSError as error:
            reason = errno.errorcode.get(error.errno or 0, str(error))
            raise BindError(f"the kernel refuses the program that steers datagrams to workers: {reason}") from error

    def discard(self, index: int) -> int:
        """Throw away what waits for a worker that is gone, and return how many datagrams.

        Its clients send again what was not answered, and reach another worker.
        """
        for count in range(_DISCARDED_AT_ONCE):
            try:
                self.sockets[index].recv(1, socket.MSG_DONTWAIT)
            except OSError:
                return count
        return _DISCARDED_AT_ONCE

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


class _SocketProgram(ctypes.Structure):
    """`struct sock_fprog` (linux/filter.h)."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _socket(address: Address) -> socket.socket:
    """Return a socket that does not block; one on `::` takes IPv4, too."""
    sock = socket.socket(socket.AF_INET6 if is_ipv6(address) else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    return sock
