"""Which addresses a backend may have: what is sent elsewhere would loop, multiply or never leave the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from quiclb.net.address import Address, Kind, format_address, ip_facts, is_ipv6, is_wildcard


@dataclass(frozen=True, slots=True)
class BackendAddresses:
    """The rule for the backends of a load balancer with these two sockets; port 0 is one that is not bound yet.

    `is_own_ip` tells whether this machine has an IP address, for a socket on a wildcard address.
    """

    listen: Address
    inner: Address
    is_own_ip: Callable[[str], bool]

    def fault(self, address: Address) -> str | None:
        """Say why no backend may have the address, or return `None`."""
        ip, port = address
        facts = ip_facts(ip)
        if port == 0:
            return "port must be 1 to 65535, got 0"
        if facts.kind in _NO_HOSTS:
            return f"must be the unicast address of one host, {ip} is {_NO_HOSTS[facts.kind]}"
        if facts.kind is Kind.LINK_LOCAL and is_ipv6(address):
            return f"must not be an IPv6 link-local address, as its interface cannot be given, got {ip}"
        if is_ipv6(address) != is_ipv6(self.inner) and self.inner[0] != "::":
            families = ("IPv4", "IPv6")
            return (
                f"{format_address(address)} is {families[is_ipv6(address)]}, which forwarder.inner "
                f"{format_address(self.inner)} cannot send to; inner = '[::]:PORT' sends to both families"
            )
        for key, own in (("listen", self.listen), ("inner", self.inner)):
            if overlap(own, address) and (own[0] == facts.text or self.is_own_ip(ip)):
                return (
                    f"{format_address(address)} is forwarder.{key} {format_address(own)} of this load balancer itself: "
                    "datagrams would go round in a loop"
                )
        return None


def overlap(one: Address, other: Address) -> bool:
    """Whether two bound addresses may get the same datagrams: equal, or a wildcard of the family and the same port."""
    if one[1] != other[1] or one[1] == 0:
        return False
    return one[0] == other[0] or _covers(one, other) or _covers(other, one)


def _covers(wildcard: Address, other: Address) -> bool:
    return is_wildcard(wildcard) and (is_ipv6(wildcard) or not is_ipv6(other))


_NO_HOSTS = {
    Kind.MULTICAST: "a multicast address",
    Kind.BROADCAST: "the broadcast address",
    Kind.UNSPECIFIED: "the unspecified address",
}
