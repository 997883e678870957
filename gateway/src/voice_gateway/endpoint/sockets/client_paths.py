"""Client addresses as the endpoint sees them: directly, or named by the SPP header of a trusted proxy."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final, NamedTuple

from quiclb.errors import ConfigError
from quiclb.net.address import ip_facts, parse_address
from quiclb.net.spp import HEADER_LENGTH, SppFault, unwrap
from voice_gateway.errors import ConfigurationError


class ForwardedPath(NamedTuple):
    """A client behind a load balancer.

    Equal whichever load balancer passed the datagram on, so that those of one address are interchangeable packet by
    packet without QUIC taking them for paths. `spp_header` goes in front of every reply.
    """

    host: str
    port: int
    spp_header: bytes


class FourTuple(NamedTuple):
    """A client at a socket that is bound to a wildcard address: both ends of the path (RFC 9000 section 9).

    Replies to `remote`, the socket API's form of `host` and `port`, leave from `local`, the IP address that the client
    sent to (`None` where the kernel does not say); from another one it takes none. A client that goes over to another
    local address is on another path.
    """

    host: str
    port: int
    remote: SocketAddress
    local: str | None


SocketAddress = tuple[str, int] | tuple[str, int, int, int]
"""An IPv4 or IPv6 address as the socket API has it."""
ProxyAddress = FourTuple | SocketAddress
"""Where a load balancer is that passed a datagram on."""
Path = ForwardedPath | ProxyAddress
"""Where a client is: host and port first."""


def parse_spp(datagram: bytes) -> tuple[ForwardedPath, bytes] | SppFault:
    """Split a datagram of a load balancer into the client's path and the QUIC packet."""
    unwrapped = unwrap(datagram)
    if isinstance(unwrapped, SppFault):
        return unwrapped
    header, payload = unwrapped
    return ForwardedPath(*header.client, datagram[:HEADER_LENGTH]), payload


def peer_name(address: Path) -> str:
    """`host:port`, an IPv6 host in brackets, an IPv4-mapped one as IPv4."""
    host = str(address[0]).removeprefix("::ffff:")
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"


def packed_host(address: Path) -> bytes:
    """The host as 16 bytes, the same directly, IPv4-mapped and behind a load balancer."""
    return _packed(address[0])


@lru_cache(maxsize=4096)
def _packed(host: str) -> bytes:
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return b"\0" * 10 + b"\xff\xff" + address.packed
    return address.packed


class TrustedProxies:
    """The load balancers whose SPP headers name the client.

    `10.0.0.1` is trusted from any port, `10.0.0.2:4433` or `[fd00::2]:4433` from one, `10.4.0.0/14` is a network of
    hosts trusted from any port.

    Health probes come from a port of their own, and are answered from any port: the answer, Version Negotiation, is
    what any client gets, and goes to the sender.
    Raises `ConfigurationError` for what is neither.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._hosts: set[str] = set()
        self._addresses: set[tuple[str, int]] = set()
        self._networks: list[_Network] = []
        self._is_within = lru_cache(maxsize=_HOSTS_REMEMBERED)(self._find)
        for name in names:
            if "/" in name:
                self._networks.append(_parse_network(name))
                continue
            host, port = _parse(name)
            if port is None:
                self._hosts.add(host)
            else:
                self._addresses.add((host, port))
        self._probers = self._hosts | {host for host, _ in self._addresses}

    def has(self, address: ProxyAddress) -> bool:
        """Whether SPP headers from this socket address are trusted."""
        host = address[0].removeprefix("::ffff:")
        return host in self._hosts or (host, address[1]) in self._addresses or self._is_within(host)

    def may_probe(self, address: ProxyAddress) -> bool:
        """Whether a datagram from this socket address may be a health probe of a trusted proxy."""
        host = address[0].removeprefix("::ffff:")
        return host in self._probers or self._is_within(host)

    def _find(self, host: str) -> bool:
        if not self._networks:
            return False
        ip = ipaddress.ip_address(host.partition("%")[0])
        return any(ip in network for network in self._networks)


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_HOSTS_REMEMBERED: Final = 1024


def _parse_network(name: str) -> _Network:
    try:
        return ipaddress.ip_network(name)
    except ValueError as error:
        raise ConfigurationError(f"a trusted proxy is an IP address, IP:port or a network: {error}") from None


def _parse(name: str) -> tuple[str, int | None]:
    try:
        return ip_facts(name).text, None
    except ValueError:
        pass
    try:
        host, port = parse_address(name)
    except ConfigError as error:
        raise ConfigurationError(f"a trusted proxy is an IP address or IP:port: {error}") from None
    if port == 0:
        raise ConfigurationError(f"a trusted proxy is an IP address or IP:port: port must be 1 to 65535, got {name!r}")
    return host, port
