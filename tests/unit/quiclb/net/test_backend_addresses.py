"""RFC 8085, RFC 1122 3.2.1.3: a datagram for one server goes to a unicast address, and never back to its sender."""

from __future__ import annotations

import pytest

from quiclb import Settings
from quiclb.backends.discovery import join
from quiclb.net.address import parse_address
from quiclb.net.backend_addresses import BackendAddresses, overlap
from quiclb.routing.pool import Backend
from tests.unit.quiclb.control.test_table_controller import settings

OWN_IPS = {"192.0.2.1", "10.0.0.1", "2001:db8::1"}


def rule(listen: str, inner: str) -> BackendAddresses:
    return BackendAddresses(parse_address(listen), parse_address(inner), OWN_IPS.__contains__)


@pytest.mark.parametrize(
    ("listen", "inner", "backend", "fault"),
    [
        ("192.0.2.1:443", "10.0.0.1:4434", "192.0.2.1:443", "is forwarder.listen 192.0.2.1:443 of this load balancer"),
        ("192.0.2.1:443", "10.0.0.1:4434", "10.0.0.1:4434", "is forwarder.inner 10.0.0.1:4434 of this load balancer"),
        ("192.0.2.1:443", "[::]:4434", "[::ffff:192.0.2.1]:443", "is forwarder.listen"),
        ("0.0.0.0:443", "10.0.0.1:4434", "10.0.0.1:443", "is forwarder.listen 0.0.0.0:443"),
        ("[::]:443", "10.0.0.1:4434", "10.0.0.1:443", "is forwarder.listen [::]:443"),
        ("[::]:443", "[::]:4434", "[2001:db8::1]:4434", "is forwarder.inner [::]:4434"),
        ("192.0.2.1:443", "10.0.0.1:4434", "10.0.0.2:0", "port must be 1 to 65535, got 0"),
        ("192.0.2.1:443", "10.0.0.1:4434", "0.0.0.0:4433", "0.0.0.0 is the unspecified address"),
        ("192.0.2.1:443", "[::]:4434", "[::]:4433", ":: is the unspecified address"),
        ("192.0.2.1:443", "10.0.0.1:4434", "224.0.0.1:4433", "224.0.0.1 is a multicast address"),
        ("192.0.2.1:443", "10.0.0.1:4434", "[::ffff:239.1.1.1]:4433", "239.1.1.1 is a multicast address"),
        ("192.0.2.1:443", "[::]:4434", "[ff02::1]:4433", "ff02::1 is a multicast address"),
        ("192.0.2.1:443", "10.0.0.1:4434", "255.255.255.255:4433", "is the broadcast address"),
        ("192.0.2.1:443", "[::]:4434", "[fe80::1%eth0]:4433", "must not be an IPv6 link-local address"),
        ("192.0.2.1:443", "10.0.0.1:4434", "[2001:db8::2]:4433", "is IPv6, which forwarder.inner 10.0.0.1:4434 cannot"),
        ("192.0.2.1:443", "[fd00::1]:4434", "10.0.0.2:4433", "is IPv4, which forwarder.inner [fd00::1]:4434 cannot"),
    ],
)  # fmt: skip
def test_addresses_that_loop_multiply_or_cannot_be_reached_are_refused(listen, inner, backend, fault):
    found = rule(listen, inner).fault(parse_address(backend))
    assert found is not None
    assert fault in found


@pytest.mark.parametrize(
    ("listen", "inner", "backend"),
    [
        ("192.0.2.1:443", "10.0.0.1:4434", "192.0.2.1:4433"),
        ("192.0.2.1:443", "10.0.0.1:4434", "10.0.0.1:443"),
        ("0.0.0.0:443", "10.0.0.1:4434", "10.0.0.2:443"),
        ("0.0.0.0:443", "[::]:4434", "[2001:db8::1]:443"),
        ("192.0.2.1:443", "[::]:4434", "169.254.0.1:4433"),
        ("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:4433"),
    ],
)
def test_other_addresses_are_taken(listen, inner, backend):
    assert rule(listen, inner).fault(parse_address(backend)) is None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("10.0.0.1:443", "10.0.0.1:443", True),
        ("0.0.0.0:443", "10.0.0.1:443", True),
        ("[2001:db8::1]:443", "[::]:443", True),
        ("[::]:443", "0.0.0.0:443", True),
        ("0.0.0.0:443", "[2001:db8::1]:443", False),
        ("10.0.0.1:443", "10.0.0.2:443", False),
        ("10.0.0.1:443", "10.0.0.1:444", False),
        ("0.0.0.0:0", "0.0.0.0:0", False),
    ],
)
def test_sockets_overlap_on_one_port_with_one_address_or_a_wildcard(one, other, expected):
    assert overlap(parse_address(one), parse_address(other)) is expected


def test_a_listed_backend_with_such_an_address_is_a_settings_error_by_its_key():
    backends = [{"name": "a", "address": "10.0.0.11:4433"}, {"name": "b", "address": "127.0.0.1:443"}]
    with pytest.raises(ValueError, match=r"backend\[1\]\.address: 127\.0\.0\.1:443 is forwarder\.listen"):
        settings(configs=(), backends=backends)


def test_a_wildcard_is_every_address_of_this_machine():
    backends = [{"name": "a", "address": "127.0.0.7:443"}]
    section = {"listen": "0.0.0.0:443", "inner": "127.0.0.1:4434"}
    with pytest.raises(ValueError, match=r"is forwarder\.listen 0\.0\.0\.0:443"):
        settings(configs=(), backends=backends, forwarder=section)
    backends = [{"name": "a", "address": "198.51.100.7:443"}]
    assert isinstance(settings(configs=(), backends=backends, forwarder=section), Settings)


def test_what_is_found_at_such_an_address_is_left_out_and_the_rest_taken():
    found = [Backend("a", ("10.0.0.1", 4434)), Backend("b", ("10.0.0.2", 4433)), Backend("c", ("224.0.0.1", 4433))]
    joined, faults = join([], [], found, rule("192.0.2.1:443", "10.0.0.1:4434").fault)
    assert [backend.name for backend in joined] == ["b"]
    assert len(faults) == 2
    assert faults[0].startswith("backend 'a' is left out: address 10.0.0.1:4434 is forwarder.inner")
    assert "224.0.0.1 is a multicast address" in faults[1]
