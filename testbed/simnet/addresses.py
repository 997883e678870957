"""Addresses as the network sees them, and as sockets of either family name them."""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache
from typing import Any, NamedTuple

WILDCARDS = frozenset({"0.0.0.0", "::", ""})


class Address(NamedTuple):
    """Host and port; an IPv4 host is always dotted, never v4-mapped."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def canonical(name: tuple[Any, ...]) -> Address:
    """The network's form of what a socket was given; a wildcard host is the empty string."""
    return Address(_canonical_host(str(name[0])), int(name[1]))


def named(address: Address, family: int) -> tuple[Any, ...]:
    """What a socket of this family reports: `(host, port)`, or `(host, port, flow, scope)` with v4 mapped to v6."""
    if family == socket.AF_INET6:
        host = address.host or "::"
        return (host if ":" in host else f"::ffff:{host}", address.port, 0, 0)
    return (address.host or "0.0.0.0", address.port)


@lru_cache(4096)
def _canonical_host(host: str) -> str:
    if host in WILDCARDS:
        return ""
    ip = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)
