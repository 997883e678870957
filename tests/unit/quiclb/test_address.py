from __future__ import annotations

import pytest

from quiclb import ConfigError
from quiclb.address import format_address, ip_facts, ip_text, normalise, parse_address


@pytest.mark.parametrize("text", ["192.0.2.1:443", "[2001:db8::1]:443", "0.0.0.0:0", "[::]:65535"])
def test_parse_and_format_are_inverse(text):
    assert format_address(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "443", ":443", "192.0.2.1", "192.0.2.1:", "192.0.2.1:x", "192.0.2.1:65536", "192.0.2.1:-1", "2001:db8::1:443",
     "[192.0.2.1]:443", "[2001:db8::1]", "[2001:db8::1]443"],
)  # fmt: skip
def test_malformed_addresses_are_refused(text):
    with pytest.raises(ConfigError, match="must look like"):
        parse_address(text)


def test_names_are_not_resolved():
    with pytest.raises(ConfigError, match=r"not a name, got 'example\.org:443'"):
        parse_address("example.org:443")


def test_socket_addresses_are_cut_to_ip_and_port():
    assert normalise(("::ffff:192.0.2.1", 443, 0, 0)) == ("192.0.2.1", 443)
    assert normalise(("2001:db8::1", 443, 0, 0)) == ("2001:db8::1", 443)
    assert normalise(("192.0.2.1", 443)) == ("192.0.2.1", 443)


@pytest.mark.parametrize("ip", ["192.0.2.1", "2001:db8::1", "::", "::1", "ff02::1"])
def test_packed_form_is_16_octets_and_reversible(ip):
    packed = ip_facts(ip).packed
    assert len(packed) == 16
    assert ip_text(packed) == ip
