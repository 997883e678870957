"""What the kernel's routing table says of a destination: whether it is this machine, and how large packets may be."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
from dataclasses import dataclass
from typing import Final

from quiclb.net.address import Address, is_ipv6, is_wildcard


@dataclass(frozen=True, slots=True)
class RouteMtu:
    """The MTU of the route to an address in bytes, what ICMP taught the kernel included; `None` without a route.

    `fault` then says why, in the kernel's words.
    """

    mtu_bytes: int | None
    fault: str | None = None


def is_local_ip(ip: str) -> bool:
    """Whether datagrams to the IP address stay on this machine."""
    if sys.platform == "linux":
        try:
            return _route_type(ip) == _RTN_LOCAL
        except OSError:
            pass  # AF_NETLINK may be forbidden, as to services of systemd
    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, 0))
        except OSError:
            return False
    return True


def path_mtu(source: Address, destination: Address) -> RouteMtu:
    """Look the route up that datagrams from `source` take; nothing is sent. Linux only: elsewhere nothing is known."""
    is_v6 = is_ipv6(destination)
    with socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        if not is_wildcard(source) and is_ipv6(source) is is_v6:
            with contextlib.suppress(OSError):  # `quiclb check` may run on another machine
                probe.bind((source[0], 0))
        try:
            probe.connect(destination)
            level, option = (socket.IPPROTO_IPV6, _IPV6_MTU) if is_v6 else (socket.IPPROTO_IP, _IP_MTU)
            return RouteMtu(probe.getsockopt(level, option) if sys.platform == "linux" else None)
        except OSError as error:
            reason = _CONNECT_REASONS.get(error.errno or 0, (error.strerror or str(error)).lower())
            return RouteMtu(None, reason)


def _route_type(ip: str) -> int:
    """Ask the kernel as `ip route get` does; returns an RTN_ number of linux/rtnetlink.h, 0 where there is no route."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    packed = socket.inet_pton(family, ip.partition("%")[0])
    body = _RTMSG.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0) + _RTATTR.pack(4 + len(packed), _RTA_DST) + packed
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(_TIMEOUT_S)
        netlink.sendto(_NLMSGHDR.pack(_NLMSGHDR.size + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + body, (0, 0))
        answer = netlink.recv(8192)
    if _NLMSGHDR.unpack_from(answer)[1] != _RTM_NEWROUTE:
        return 0
    route_type: int = _RTMSG.unpack_from(answer, _NLMSGHDR.size)[7]
    return route_type


_CONNECT_REASONS: Final = {
    errno.EACCES: "it is a broadcast address",
    errno.EINVAL: "it cannot be reached from the inner address",
}

# linux/netlink.h, linux/rtnetlink.h, linux/in.h, linux/in6.h
_NLMSGHDR: Final = struct.Struct("=IHHII")
_RTMSG: Final = struct.Struct("=8BI")
_RTATTR: Final = struct.Struct("=HH")
_RTM_NEWROUTE: Final = 24
_RTM_GETROUTE: Final = 26
_NLM_F_REQUEST: Final = 1
_RTA_DST: Final = 1
_RTN_LOCAL: Final = 2
_IP_MTU: Final = 14
_IPV6_MTU: Final = 24
_TIMEOUT_S: Final = 1.0
