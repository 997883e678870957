"""IP addresses as pairs of text and port, their 16-octet form, and which of them can be a client."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from quiclb.errors import ConfigError

Address = tuple[str, int]
"""IP address in text form and port; IPv4 without the v4-mapped prefix."""


class Kind(StrEnum):
    """What an IP address is good for."""

    UNICAST = "unicast"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    MULTICAST = "multicast"
    BROADCAST = "broadcast"
    UNSPECIFIED = "unspecified"


@dataclass(frozen=True, slots=True)
class IpFacts:
    """An IP address, taken apart: 16 octets (IPv4 is v4-mapped), its usual text, and its kind."""

    packed: bytes
    text: str
    kind: Kind


@lru_cache(maxsize=16384)
def ip_facts(ip: str) -> IpFacts:
    """Take an IP address in text form apart; raises `ValueError` if it is none."""
    parsed = ipaddress.ip_address(ip)
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        if mapped is None:
            return IpFacts(parsed.packed, str(parsed), _kind(parsed))
        parsed = mapped
    return IpFacts(_V4_MAPPED + parsed.packed, str(parsed), _kind(parsed))


@lru_cache(maxsize=16384)
def ip_text(packed: bytes) -> str:
    """The text form of 16 octets."""
    if packed.startswith(_V4_MAPPED):
        return str(ipaddress.IPv4Address(packed[12:]))
    return str(ipaddress.IPv6Address(packed))


def normalise(address: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """Cut what the socket API gives to IP address and port, IPv4 without the v4-mapped prefix."""
    ip = address[0]
    return (ip_facts(ip).text if ":" in ip else ip, address[1])


def is_ipv6(address: Address) -> bool:
    return ":" in address[0]


def is_wildcard(address: Address) -> bool:
    """Whether it stands for all addresses of the machine, as 0.0.0.0 does."""
    return ip_facts(address[0]).kind is Kind.UNSPECIFIED


def parse_address(text: str) -> Address:
    """Read `192.0.2.1:443` or `[2001:db8::1]:443`; raises `ConfigError`. Host names are not resolved."""
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    ip = host[1:-1] if is_bracketed else host
    if (
        not ip
        or not colon
        or not port.isascii()
        or not port.isdecimal()
        or int(port) > 65535
        or is_bracketed != (":" in ip)
    ):
        raise ConfigError(f"address must look like 192.0.2.1:443 or [2001:db8::1]:443, got {text!r}")
    try:
        return ip_facts(ip).text, int(port)
    except ValueError:
        raise ConfigError(f"address must hold an IP address, not a name, got {text!r}") from None


def format_address(address: Address) -> str:
    """The inverse of `parse_address`."""
    return f"[{address[0]}]:{address[1]}" if is_ipv6(address) else f"{address[0]}:{address[1]}"


_V4_MAPPED = bytes(10) + b"\xff\xff"
_V4_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


def _kind(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Kind:
    if ip == _V4_BROADCAST:
        return Kind.BROADCAST
    if ip.is_unspecified:
        return Kind.UNSPECIFIED
    if ip.is_loopback:
        return Kind.LOOPBACK
    if ip.is_multicast:
        return Kind.MULTICAST
    return Kind.LINK_LOCAL if ip.is_link_local else Kind.UNICAST
