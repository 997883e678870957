"""Local destination and source addresses of datagrams (IP_PKTINFO, IPV6_RECVPKTINFO), for a VIP that is a wildcard.

Without them the kernel picks the source address of a reply, and a client drops replies from an address it did not call.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from quiclb.datapath.linux import libc
from quiclb.net.address import Kind, ip_facts, ip_text


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets of the address in a received and in a sent control message, as in the kernel's C structures."""

    level: int
    kind: int
    length_bytes: int
    space_bytes: int
    destination_at: int
    source_at: int
    address_words: int
    """Of 32 bits."""


LAYOUTS: Final = {
    # struct in_pktinfo has the address to send from in front of the one that was sent to
    socket.AF_INET: Layout(socket.IPPROTO_IP, libc.IP_PKTINFO, 28, 32, 24, 20, 1),
    socket.AF_INET6: Layout(socket.IPPROTO_IPV6, libc.IPV6_PKTINFO, 36, 40, 16, 16, 4),
}

Control = list[tuple[int, int, bytes]]
"""Ancillary data as Python's sockets give and take it."""

CONTROL_BYTES: Final = 64
"""Room that suffices for the ancillary data of one datagram."""


def ask(sock: socket.socket) -> None:
    """Let `recvmsg` return the local destination address of each datagram; IPv4 comes to an IPv6 socket v4-mapped."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, libc.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, libc.IP_PKTINFO, 1)


def local_destination(control: Iterable[tuple[int, int, bytes]]) -> str | None:
    """The IP address that a datagram was sent to, or `None` if the kernel does not say."""
    for level, kind, data in control:
        if (level, kind) == (socket.IPPROTO_IP, libc.IP_PKTINFO):
            return socket.inet_ntop(socket.AF_INET, data[8:12])
        if (level, kind) == (socket.IPPROTO_IPV6, libc.IPV6_PKTINFO):
            return ip_text(data[:16])
    return None


def local_source(ip: str, family: int) -> Control:
    """Ancillary data that sets the local source address; the kernel refuses one that is not the machine's."""
    facts = ip_facts(ip)
    if facts.kind is Kind.UNSPECIFIED:
        return []
    if family == socket.AF_INET6:
        return [(socket.IPPROTO_IPV6, libc.IPV6_PKTINFO, facts.packed + bytes(4))]
    return [(socket.IPPROTO_IP, libc.IP_PKTINFO, struct.pack("=4x4s4x", facts.packed[12:]))]
