"""Opens the two UDP sockets of a datapath on Linux, with what each side needs of the kernel."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

from quiclb.address import Address, format_address, is_ipv6
from quiclb.binding import explain_refusal
from quiclb.datapath import libc
from quiclb.datapath.base import Side
from quiclb.errors import StartError

RECEIVE_BUFFER_OCTETS: Final = 4 << 20
"""Asked of the kernel, which grants at most net.core.rmem_max: room for bursts while a batch is worked on."""


def open_socket(address: Address, side: Side) -> socket.socket:
    """Bind a UDP socket that does not block; raises `StartError`. An IPv6 socket on `::` serves IPv4 too.

    Fragments are forbidden on both sides. The inner side obeys the path MTU the kernel learnt. Towards clients the
    server does path MTU discovery itself, so the kernel must not believe ICMP messages that anybody can forge. Only the
    inner side hears of ICMP errors: they say that a backend is not there.
    """
    is_v6 = is_ipv6(address)
    sock = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, RECEIVE_BUFFER_OCTETS)
        discovery = libc.PMTUDISC_DO if side is Side.INNER else libc.PMTUDISC_PROBE
        sock.setsockopt(socket.IPPROTO_IP, libc.IP_MTU_DISCOVER, discovery)
        if is_v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.setsockopt(socket.IPPROTO_IPV6, libc.IPV6_MTU_DISCOVER, discovery)
        if side is Side.INNER:
            sock.setsockopt(socket.IPPROTO_IP, libc.IP_RECVERR, 1)
            if is_v6:
                sock.setsockopt(socket.IPPROTO_IPV6, libc.IPV6_RECVERR, 1)
            sock.setsockopt(libc.SOL_UDP, libc.UDP_GRO, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise StartError(f"cannot listen on {format_address(address)}: {explain_refusal(error)}") from None
    return sock


def receive_drops(sock: socket.socket) -> int:
    """Datagrams lost to a full receive queue since the socket was made; /proc/net/udp shows the same number."""
    meminfo = sock.getsockopt(socket.SOL_SOCKET, libc.SO_MEMINFO, 4 * (libc.SK_MEMINFO_DROPS + 1))
    drops: int = struct.unpack_from("=I", meminfo, 4 * libc.SK_MEMINFO_DROPS)[0]
    return drops


def read_error_queue(sock: socket.socket, limit: int = 64) -> list[tuple[Address, str]]:
    """Take up to `limit` ICMP errors off the socket: the destination each is about, and its symbol (`ECONNREFUSED`)."""
    errors: list[tuple[Address, str]] = []
    for _ in range(limit):
        try:
            _, control, _, destination = sock.recvmsg(0, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except OSError:
            break
        for level, kind, data in control:
            if (level, kind) in _ERROR_RECORDS:
                number = struct.unpack_from("=I", data)[0]
                errors.append(((destination[0], destination[1]), errno.errorcode.get(number, "other")))
    return errors


_ERROR_RECORDS: Final = {(socket.IPPROTO_IP, libc.IP_RECVERR), (socket.IPPROTO_IPV6, libc.IPV6_RECVERR)}
