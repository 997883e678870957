from __future__ import annotations

from typing import Any

import pytest

from quiclb import SppHeader, wrap
from quiclb.net.spp import SppFault
from voice_gateway.endpoint.sockets.client_paths import ForwardedPath, TrustedProxies, parse_spp, peer_name
from voice_gateway.errors import ConfigurationError

CLIENT, VIP = ("198.51.100.7", 40001), ("192.0.2.1", 4433)


def test_an_spp_header_becomes_a_path_whichever_proxy_sent_it() -> None:
    datagram = wrap(SppHeader(CLIENT, VIP), b"payload")
    parsed = parse_spp(datagram)
    assert not isinstance(parsed, SppFault)
    path, payload = parsed
    assert path == ForwardedPath("198.51.100.7", 40001, datagram[:38])
    assert payload == b"payload"


@pytest.mark.parametrize("datagram", [b"", b"\x56\xec", bytes(38)])
def test_a_datagram_without_an_spp_header_is_a_fault(datagram: bytes) -> None:
    assert isinstance(parse_spp(datagram), SppFault)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (("198.51.100.7", 1), "198.51.100.7:1"),
        (("::ffff:198.51.100.7", 1, 0, 0), "198.51.100.7:1"),
        (("2001:db8::1", 1, 0, 0), "[2001:db8::1]:1"),
    ],
)
def test_peers_have_readable_names(address: Any, name: str) -> None:
    assert peer_name(address) == name


@pytest.mark.parametrize(
    ("names", "address", "is_trusted"),
    [
        (("10.0.0.1",), ("10.0.0.1", 5), True),
        (("10.0.0.1",), ("::ffff:10.0.0.1", 5, 0, 0), True),
        (("10.0.0.1",), ("10.0.0.2", 5), False),
        (("10.0.0.1:4433",), ("10.0.0.1", 4433), True),
        (("10.0.0.1:4433",), ("10.0.0.1", 4434), False),
        (("[fd00::1]:4433",), ("fd00::1", 4433, 0, 0), True),
        (("fd00::1",), ("fd00::1", 9, 0, 0), True),
        (("10.4.0.0/14",), ("10.7.255.1", 5), True),
        (("10.4.0.0/14",), ("::ffff:10.7.255.1", 5, 0, 0), True),
        (("10.4.0.0/14",), ("10.8.0.1", 5), False),
        (("fd00::/8", "10.4.0.0/14"), ("fd12::3", 5, 0, 0), True),
        (("fd00::/8",), ("fe80::1%eth0", 5, 0, 2), False),
        ((), ("10.0.0.1", 5), False),
    ],
)
def test_proxies_are_trusted_by_host_or_by_host_and_port(
    names: tuple[str, ...], address: tuple[str, int], is_trusted: bool
) -> None:
    assert TrustedProxies(names).has(address) is is_trusted


def test_health_probes_come_from_trusted_networks_too() -> None:
    proxies = TrustedProxies(("10.0.0.1:4433", "10.4.0.0/14"))
    assert [proxies.may_probe((host, 9)) for host in ("10.0.0.1", "10.5.0.1", "10.9.0.1")] == [True, True, False]


@pytest.mark.parametrize("name", ["10.4.0.1/14", "10.0.0.0/33", "lb/8", "10.0.0.0/8:4433"])
def test_a_network_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="a trusted proxy is an IP address, IP:port or a network"):
        TrustedProxies((name,))


@pytest.mark.parametrize("name", ["", "lb.example", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:70000", "10.0.0.1:x", "[::1"])
def test_a_proxy_that_is_no_address_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="a trusted proxy is an IP address or IP:port"):
        TrustedProxies((name,))
