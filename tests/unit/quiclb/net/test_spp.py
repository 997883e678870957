from __future__ import annotations

import pytest

from quiclb import SppError, SppHeader, unwrap, wrap
from quiclb.net.spp import ClientFault, SppFault, client_fault

VIP = ("192.0.2.1", 443)


def test_layout_is_the_published_one():
    data = wrap(SppHeader(("198.51.100.7", 40001), VIP), b"quic")
    assert data.hex() == (
        "56ec"
        + "00000000000000000000ffffc6336407"
        + "00000000000000000000ffffc0000201"
        + "9c41"
        + "01bb"
        + b"quic".hex()
    )


@pytest.mark.parametrize(
    "header",
    [
        SppHeader(("198.51.100.7", 40001), VIP),
        SppHeader(("2001:db8::7", 1), ("2001:db8::1", 65535)),
        SppHeader(("198.51.100.7", 0), ("2001:db8::1", 0)),
    ],
)
def test_unwrap_inverts_wrap(header):
    assert unwrap(wrap(header, b"")) == (header, b"")
    assert unwrap(wrap(header, b"x" * 1500)) == (header, b"x" * 1500)


def test_v4_mapped_addresses_come_back_as_ipv4():
    unwrapped = unwrap(wrap(SppHeader(("::ffff:198.51.100.7", 1), VIP), b""))
    assert unwrapped == (SppHeader(("198.51.100.7", 1), VIP), b"")


def test_what_is_no_spp_header_is_a_value():
    good = wrap(SppHeader(("198.51.100.7", 1), VIP), b"")
    assert unwrap(good[:37]) is SppFault.TOO_SHORT
    assert unwrap(b"") is SppFault.TOO_SHORT
    assert unwrap(b"\x56\xed" + good[2:]) is SppFault.BAD_MAGIC


@pytest.mark.parametrize("client", [("example.org", 1), ("198.51.100.7", 65536), ("198.51.100.7", -1), ("", 1)])
def test_wrap_refuses_what_is_no_address(client):
    with pytest.raises(SppError, match="does not fit"):
        wrap(SppHeader(client, VIP), b"")


@pytest.mark.parametrize(
    ("client", "fault"),
    [
        (("198.51.100.7", 40001), None),
        (("2001:db8::7", 40001), None),
        (("10.0.0.9", 443), None),
        (("192.0.2.1", 444), None),
        (("198.51.100.7", 0), ClientFault.PORT_ZERO),
        (("127.0.0.1", 40001), ClientFault.LOOPBACK),
        (("127.9.9.9", 40001), ClientFault.LOOPBACK),
        (("::1", 40001), ClientFault.LOOPBACK),
        (("::ffff:127.0.0.1", 40001), ClientFault.LOOPBACK),
        (("224.0.0.251", 5353), ClientFault.MULTICAST),
        (("ff02::fb", 5353), ClientFault.MULTICAST),
        (("255.255.255.255", 67), ClientFault.BROADCAST),
        (("0.0.0.0", 40001), ClientFault.UNSPECIFIED),
        (("::", 40001), ClientFault.UNSPECIFIED),
        (("fe80::1%eth0", 40001), ClientFault.LINK_LOCAL),
        (("169.254.169.254", 80), ClientFault.LINK_LOCAL),
        (VIP, ClientFault.IS_VIP),
        (("::ffff:192.0.2.1", 443), ClientFault.IS_VIP),
    ],
)
def test_who_can_be_a_client(client, fault):
    assert client_fault(client, VIP) is fault


def test_loopback_is_a_setting_but_the_vip_never_is():
    assert client_fault(("127.0.0.1", 40001), ("127.0.0.1", 443), is_loopback_allowed=True) is None
    assert client_fault(("127.0.0.1", 443), ("127.0.0.1", 443), is_loopback_allowed=True) is ClientFault.IS_VIP
    assert client_fault(("224.0.0.1", 1), VIP, is_loopback_allowed=True) is ClientFault.MULTICAST
