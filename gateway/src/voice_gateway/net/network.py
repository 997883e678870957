"""Which addresses count as one caller's. Sans-IO."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

from quiclb.errors import ConfigError
from quiclb.net.address import parse_address

_IPV6_PREFIX_BYTES: Final = 8


@lru_cache(maxsize=16_384)
def network_of(host: str) -> bytes:
    """Return an IPv4 address whole and an IPv6 one's /64, which one household has; 4 and 8 bytes.

    An IPv4-mapped IPv6 address is its IPv4 one. What is no address is one network of its own, of no bytes.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return b""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return address.packed[:_IPV6_PREFIX_BYTES]
        address = address.ipv4_mapped
    return address.packed


def network_of_peer(peer: str) -> bytes:
    """`network_of` for `host:port` and `[host]:port`."""
    try:
        return network_of(parse_address(peer)[0])
    except ConfigError:
        return b""
