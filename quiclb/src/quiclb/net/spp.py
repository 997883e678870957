"""The Simple Proxy Protocol: 38 bytes in front of each datagram between load balancer and backend.

`0x56EC | client address[16] | proxy address[16] | client port[2] | proxy port[2]`, network order, IPv4 as v4-mapped
IPv6. A backend puts the header it received in front of every reply, so any load balancer can deliver any reply without
a table (Cloudflare, "Simple Proxy Protocol").
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from quiclb.errors import SppError
from quiclb.net.address import V4_MAPPED, Address, Kind, ip_facts, ip_text

MAGIC: Final = 0x56EC
HEADER_LENGTH: Final = 38


@dataclass(frozen=True, slots=True)
class SppHeader:
    """Who sent the datagram, and the address of the load balancer it was sent to (the VIP)."""

    client: Address
    proxy: Address


class SppFault(StrEnum):
    """Why a datagram on the inner side has no usable header. Values are metric labels, which keep their spelling."""

    TOO_SHORT = "envelope-too-short"
    BAD_MAGIC = "envelope-bad-magic"


class ClientFault(StrEnum):
    """Why an address cannot be a client's: sending there would reflect, loop or fail."""

    LOOPBACK = "client-loopback"
    LINK_LOCAL = "client-link-local"
    MULTICAST = "client-multicast"
    BROADCAST = "client-broadcast"
    UNSPECIFIED = "client-unspecified"
    PORT_ZERO = "client-port-0"
    IS_VIP = "client-is-vip"


def wrap(header: SppHeader, datagram: bytes) -> bytes:
    """Put the header in front; raises `SppError` for addresses that are none."""
    try:
        client, proxy = ip_facts(header.client[0]).packed, ip_facts(header.proxy[0]).packed
        return _LAYOUT.pack(MAGIC, client, proxy, header.client[1], header.proxy[1]) + datagram
    except (ValueError, struct.error) as error:
        raise SppError(f"address does not fit the SPP header: {error}") from None


def unwrap(datagram: bytes) -> tuple[SppHeader, bytes] | SppFault:
    """Take the header off. What it names is not checked: see `client_fault`."""
    if len(datagram) < HEADER_LENGTH:
        return SppFault.TOO_SHORT
    magic, client, proxy, client_port, proxy_port = _LAYOUT.unpack_from(datagram)
    if magic != MAGIC:
        return SppFault.BAD_MAGIC
    header = SppHeader((ip_text(client), client_port), (ip_text(proxy), proxy_port))
    return header, datagram[HEADER_LENGTH:]


def is_wrapped(datagram: bytes) -> bool:
    """Whether a client's datagram is one that a load balancer has wrapped already: a loop, or one behind another.

    To QUIC it is a short header whose connection ID begins with 0xEC, which no configuration issues (codepoint 0b111);
    random bytes behind it look like an IPv4-mapped client with probability 2**-96, like a second header with 2**-16.
    """
    if len(datagram) <= HEADER_LENGTH or not datagram.startswith(_MAGIC_BYTES):
        return False
    is_nested = len(datagram) > 2 * HEADER_LENGTH and datagram.startswith(_MAGIC_BYTES, HEADER_LENGTH)
    return is_nested or datagram.startswith(V4_MAPPED, 2)


def client_fault(client: Address, vip: Address, *, is_loopback_allowed: bool = False) -> ClientFault | None:
    """Say why `client` must get no datagram, or `None` if it may.

    Link-local addresses are refused because the SPP header has no room for the interface they belong to.
    """
    facts = ip_facts(client[0])
    if client[1] == 0:
        return ClientFault.PORT_ZERO
    if facts.kind in _FAULTS and not (facts.kind is Kind.LOOPBACK and is_loopback_allowed):
        return _FAULTS[facts.kind]
    if client[1] == vip[1] and facts.packed == ip_facts(vip[0]).packed:
        return ClientFault.IS_VIP
    return None


_MAGIC_BYTES = MAGIC.to_bytes(2, "big")
_LAYOUT = struct.Struct("!H16s16sHH")
_FAULTS = {
    Kind.LOOPBACK: ClientFault.LOOPBACK,
    Kind.LINK_LOCAL: ClientFault.LINK_LOCAL,
    Kind.MULTICAST: ClientFault.MULTICAST,
    Kind.BROADCAST: ClientFault.BROADCAST,
    Kind.UNSPECIFIED: ClientFault.UNSPECIFIED,
}
