"""IP addresses as pairs of text and port, their 16-byte form, and which of them can be a client."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from quiclb.errors import ConfigError

V4_MAPPED: Final = bytes(10) + b"\xff\xff"
"""The first 12 bytes of an IPv4 address in the form of an IPv6 one."""

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
    """An IP address, taken apart: 16 bytes (IPv4 is v4-mapped), its usual text, and its kind."""

    packed: bytes
    text: str
    kind: Kind


@lru_cache(maxsize=4096)
def ip_facts(ip: str) -> IpFacts:
    """Take an IP address in text form apart; raises `ValueError` if it is none."""
    parsed = ipaddress.ip_address(ip)
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        if mapped is None:
            return IpFacts(parsed.packed, str(parsed), _kind(parsed))
        parsed = mapped
    return IpFacts(V4_MAPPED + parsed.packed, str(parsed), _kind(parsed))


@lru_cache(maxsize=4096)
def ip_text(packed: bytes) -> str:
    """The text form of 16 bytes."""
    if packed.startswith(V4_MAPPED):
        return str(ipaddress.IPv4Address(packed[12:]))
    return str(ipaddress.IPv6Address(packed))


def normalise(address: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """Cut what the socket API gives to IP address and port, IPv4 without the v4-mapped prefix."""
    ip = address[0]
    return (ip_facts(ip).text if ":" in ip else ip, address[1])


@lru_cache(maxsize=4096)
def ipv4_mapped(ip: str) -> str:
    """The IP address as an IPv6 socket takes it: IPv4 as `::ffff:192.0.2.1`, IPv6 unchanged."""
    return ip if ":" in ip else f"::ffff:{ip}"


def is_ipv6(address: Address) -> bool:
    return ":" in address[0]


def is_wildcard(address: Address) -> bool:
    """Whether it stands for all addresses of the machine, as 0.0.0.0 does."""
    return ip_facts(address[0]).kind is Kind.UNSPECIFIED


def parse_address(text: str) -> Address:
    """Read `192.0.2.1:443` or `[2001:db8::1]:443`; raises `ConfigError`. Host names are refused."""
    host, port = _split(text, _ADDRESS_FORM)
    if port is None:
        raise ConfigError(f"{_ADDRESS_FORM}, got {_shown(text)}")
    ip = _ip_text(host)
    if ip is None:
        raise ConfigError(f"address must hold an IP address, not a name, got {_shown(text)}")
    return ip, port


def parse_host_port(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Read `name:port`, `192.0.2.1:port` or `[2001:db8::1]:port` of a peer to be called; raises `ConfigError`.

    Where there is a `default_port`, the port may be left out. Port 0 is refused: nothing can be sent there. A name is
    returned as `parse_host_name` returns it, an IP address in its usual text without brackets.
    """
    host, port = _split(text, _HOST_PORT_FORM)
    if port is None:
        port = default_port
    if port is None:
        raise ConfigError(f"{_HOST_PORT_FORM}, got {_shown(text)} without a port")
    if port == 0:
        raise ConfigError(f"port must be 1 to 65535, got {_shown(text)}")
    return _ip_text(host) or parse_host_name(host), port


def parse_host_name(text: str) -> str:
    """Return a host name in ASCII and lower case, as it is looked up and put on the wire; raises `ConfigError`.

    Labels hold 1 to 63 letters, digits, `-` or `_`, with no hyphen at either end; without the final dot, which stays,
    there are at most 253 of them and their dots (RFC 1035 section 2.3.4, RFC 1123 section 2.1). Names in other scripts
    become A-labels (IDNA, RFC 3490). A name whose last label is a number is refused: resolvers take it for an IPv4
    address.
    """
    name = text
    if not text.isascii() and len(text) <= _MAX_NAME_BYTES:
        try:
            name = text.encode("idna").decode("ascii")
        except UnicodeError:
            raise ConfigError(f"host name cannot be written in ASCII (IDNA), got {_shown(text)}") from None
    labels = name.lower().removesuffix(".").split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ConfigError(
            f"host name must be labels of 1 to 63 letters, digits or hyphens with dots between, got {_shown(text)}"
        )
    if len(name.removesuffix(".")) > _MAX_NAME_BYTES:
        raise ConfigError(f"host name must be at most {_MAX_NAME_BYTES} bytes long, got {len(name.encode())}")
    if _NUMBER.fullmatch(labels[-1]):
        raise ConfigError(f"host name must not end in a number, and is no IP address, got {_shown(text)}")
    return name.lower()


def parse_host(text: str) -> str:
    """Read a host without a port: an IP address, an IPv6 one without brackets, or a name; raises `ConfigError`."""
    return _ip_text(text) or parse_host_name(text)


def format_address(address: Address) -> str:
    """The inverse of `parse_address`."""
    return f"[{address[0]}]:{address[1]}" if is_ipv6(address) else f"{address[0]}:{address[1]}"


_ADDRESS_FORM = "address must look like 192.0.2.1:443 or [2001:db8::1]:443"
_HOST_PORT_FORM = "address must look like name:443, 192.0.2.1:443 or [2001:db8::1]:443"
_MAX_NAME_BYTES = 253
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_SHOWN_CHARACTERS = 80
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


def _split(text: str, form: str) -> tuple[str, int | None]:
    """Split at the port's colon: the host without its brackets, and the port, `None` where there is none."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        is_whole = bool(bracket) and ":" in host and (not rest or rest.startswith(":"))
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = text.partition(":")
        is_whole = True
    # int() takes no more than 4,300 digits
    is_number = port.isascii() and port.isdecimal() and len(port) <= 5
    if not host or not is_whole or (colon and not (is_number and int(port) <= 65535)):
        hint = "; IPv6 addresses need brackets" if text.count(":") > 1 and not text.startswith("[") else ""
        raise ConfigError(f"{form}, got {_shown(text)}{hint}")
    return host, int(port) if colon else None


def _ip_text(host: str) -> str | None:
    try:
        return ip_facts(host).text
    except ValueError:
        return None


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")
