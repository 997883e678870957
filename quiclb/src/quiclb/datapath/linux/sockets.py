"""Opens the two UDP sockets of a datapath on Linux, with what each side needs of the kernel."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

from quiclb.datapath.base import Side, SocketPair
from quiclb.datapath.linux import libc
from quiclb.errors import StartError
from quiclb.net.address import Address, format_address, is_ipv6
from quiclb.net.kernel.bind_errors import explain_refusal
from quiclb.net.kernel.socket_options import HasOptions, PathMtu, set_path_mtu

RECEIVE_BUFFER_BYTES: Final = 4 << 20
"""Room for bursts while a batch is worked on or a process is replaced. Without CAP_NET_ADMIN the kernel grants at most
net.core.rmem_max."""


def open_sockets(vip: Address, inner: Address) -> SocketPair:
    """Bind both sides; raises `StartError` and leaves nothing open."""
    inner_socket = open_socket(inner, Side.INNER)
    try:
        return SocketPair(open_socket(vip, Side.VIP), inner_socket)
    except BaseException:
        inner_socket.close()
        raise


def open_socket(address: Address, side: Side, *, is_shared: bool = False) -> socket.socket:
    """Bind a UDP socket that does not block; raises `StartError`. An IPv6 socket on `::` serves IPv4 too.

    Several sockets that are all shared (SO_REUSEPORT) may have one address: the kernel deals flows out among them.
    """
    sock = make_socket(address, side, is_shared=is_shared)
    try:
        bind_socket(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def make_socket(address: Address, side: Side, *, is_shared: bool = False) -> socket.socket:
    """Return what `open_socket` does, not bound yet: `bind_socket` comes next."""
    is_v6 = is_ipv6(address)
    sock = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
    if is_v6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if is_shared:
        sock.setsockopt(socket.SOL_SOCKET, libc.SO_REUSEPORT, 1)
    configure_socket(sock, side)
    return sock


def bind_socket(sock: socket.socket, address: Address) -> None:
    """Let datagrams arrive from now on; raises `StartError`."""
    try:
        sock.bind(address)
    except OSError as error:
        raise StartError(f"cannot listen on {format_address(address)}: {explain_refusal(error)}") from None


def configure_socket(sock: socket.socket, side: Side) -> None:
    """Set what the datapath needs of the kernel, on a socket made here or inherited.

    Only the inner side gets ICMP errors: they say that a backend is not there.
    """
    is_v6 = sock.family == socket.AF_INET6
    sock.setblocking(False)
    for forced, asked in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, RECEIVE_BUFFER_BYTES)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, asked, RECEIVE_BUFFER_BYTES)
    forbid_fragments(sock, side)
    if side is Side.INNER:
        sock.setsockopt(socket.IPPROTO_IP, libc.IP_RECVERR, 1)
        if is_v6:
            sock.setsockopt(socket.IPPROTO_IPV6, libc.IPV6_RECVERR, 1)
        sock.setsockopt(libc.SOL_UDP, libc.UDP_GRO, 1)


def forbid_fragments(sock: HasOptions, side: Side) -> None:
    """Set the don't-fragment bit, on Linux.

    The inner side obeys the path MTU that ICMP messages name. Towards clients the server probes the path itself, so the
    kernel must not believe ICMP messages, which any host can forge.
    """
    set_path_mtu(sock, PathMtu.OBEY_ICMP if side is Side.INNER else PathMtu.IGNORE_ICMP)


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
                number, origin = struct.unpack_from("=IB", data)
                if origin == _ORIGIN_LOCAL:
                    continue  # the send call itself has failed with it
                errors.append(((destination[0], destination[1]), errno.errorcode.get(number, "other")))
    return errors


# linux/errqueue.h
_ORIGIN_LOCAL: Final = 1
_ERROR_RECORDS: Final = {(socket.IPPROTO_IP, libc.IP_RECVERR), (socket.IPPROTO_IPV6, libc.IPV6_RECVERR)}

# asm-generic/socket.h; the socket module has no names for them
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
