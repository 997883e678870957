"""Which of the machine's addresses a datagram was sent to, and answering from that one: what a wildcard VIP needs.

Without it the kernel answers from the address it likes best, and a client that asked another one believes nothing.
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
    """The same as C structures: where the address lies in a control message that comes, and in one that goes."""

    level: int
    kind: int
    length_bytes: int
    space_bytes: int
    arrival_at: int
    departure_at: int
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
    """Let `recvmsg` say from now on where each datagram was sent to; IPv4 comes to an IPv6 socket v4-mapped."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, libc.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, libc.IP_PKTINFO, 1)


def arrival(control: Iterable[tuple[int, int, bytes]]) -> str | None:
    """The IP address that a datagram was sent to, or `None` if the kernel does not say."""
    for level, kind, data in control:
        if (level, kind) == (socket.IPPROTO_IP, libc.IP_PKTINFO):
            return socket.inet_ntop(socket.AF_INET, data[8:12])
        if (level, kind) == (socket.IPPROTO_IPV6, libc.IPV6_PKTINFO):
            return ip_text(data[:16])
    return None


def departure(ip: str, family: int) -> Control:
    """What makes a socket of this family send from an address; from one that is not the machine's the kernel won't."""
    facts = ip_facts(ip)
    if facts.kind is Kind.UNSPECIFIED:
        return []
    if family == socket.AF_INET6:
        return [(socket.IPPROTO_IPV6, libc.IPV6_PKTINFO, facts.packed + bytes(4))]
    return [(socket.IPPROTO_IP, libc.IP_PKTINFO, struct.pack("=4x4s4x", facts.packed[12:]))]
