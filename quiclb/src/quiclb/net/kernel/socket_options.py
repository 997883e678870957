"""Path MTU discovery of UDP sockets on Linux."""

from __future__ import annotations

import enum
import socket
import sys
from typing import Final, Protocol

# linux/in.h, linux/in6.h; the socket module has no names for these before Python 3.14
_IP_MTU_DISCOVER: Final = 10
_IPV6_MTU_DISCOVER: Final = 23


class PathMtu(enum.IntEnum):
    """Both set the don't-fragment bit; the values are the kernel's."""

    OBEY_ICMP = 2
    """IP_PMTUDISC_DO: refuse datagrams above the path MTU that ICMP messages name. For paths inside a data centre."""
    IGNORE_ICMP = 3
    """IP_PMTUDISC_PROBE: ICMP messages, which can be forged, change nothing. For QUIC, which probes the path itself."""


class HasOptions(Protocol):
    """A socket, or what an event loop shows of one."""

    @property
    def family(self) -> int: ...
    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...


def set_path_mtu(sock: HasOptions, path_mtu: PathMtu) -> None:
    """Forbid fragments, on Linux. An IPv6 socket gets the options of both families, because it carries IPv4 too."""
    if sys.platform != "linux":
        return
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, path_mtu)
    sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, path_mtu)
