from __future__ import annotations

import pytest

from quiclb import ConfigError
from quiclb.net.address import (
    format_address,
    ip_facts,
    ip_text,
    normalise,
    parse_address,
    parse_host,
    parse_host_name,
    parse_host_port,
)


@pytest.mark.parametrize("text", ["192.0.2.1:443", "[2001:db8::1]:443", "0.0.0.0:0", "[::]:65535"])
def test_parse_and_format_are_inverse(text):
    assert format_address(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "443", ":443", "192.0.2.1", "192.0.2.1:", "192.0.2.1:x", "192.0.2.1:65536", "192.0.2.1:-1", "2001:db8::1:443",
     "[192.0.2.1]:443", "[2001:db8::1]", "[2001:db8::1]443", "192.0.2.1:" + "9" * 5000, "192.0.2.1:\u0661"],
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
def test_packed_form_is_16_bytes_and_reversible(ip):
    packed = ip_facts(ip).packed
    assert len(packed) == 16
    assert ip_text(packed) == ip


ADDRESSES = [
    ("192.0.2.1:26379", ("192.0.2.1", 26379)),
    ("192.0.2.1", ("192.0.2.1", 443)),
    ("[::1]:26379", ("::1", 26379)),
    ("[2001:DB8:0::1]:1", ("2001:db8::1", 1)),
    ("[::1]", ("::1", 443)),
    ("[::ffff:192.0.2.1]:1", ("192.0.2.1", 1)),
    ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
    ("localhost:65535", ("localhost", 65535)),
    ("Redis-1.Example:6379", ("redis-1.example", 6379)),
    ("my_redis:6379", ("my_redis", 6379)),
    ("gw.test.:443", ("gw.test.", 443)),
    ("b\u00fccher.test:1", ("xn--bcher-kva.test", 1)),
    (f"{'a' * 63}.test:1", (f"{'a' * 63}.test", 1)),
]
REFUSED = [
    ("", "must look like"),
    (":443", "must look like"),
    ("h:", "must look like"),
    ("h:x", "must look like"),
    ("h:-1", "must look like"),
    ("h:65536", "must look like"),
    ("h:0", "port must be 1 to 65535, got 'h:0'"),
    ("h:" + "9" * 5000, "must look like"),
    ("h:1:2", "IPv6 addresses need brackets"),
    ("::1:26379", "IPv6 addresses need brackets"),
    ("[::1", "must look like"),
    ("[::1]26379", "must look like"),
    ("[192.0.2.1]:1", "must look like"),
    ("[name]:1", "must look like"),
    ("a..b:1", "host name must be labels of 1 to 63 letters"),
    (f"{'a' * 64}.test:1", "host name must be labels of 1 to 63 letters"),
    ("-a.test:1", "host name must be labels"),
    ("a b:1", "host name must be labels"),
    ("a/b:1", "host name must be labels"),
    ("[:::]:1", "host name must be labels"),
    (f"{'a.' * 126}ab:1", "host name must be at most 253 bytes long, got 254"),
    ("b\u00fc" * 300 + ":1", "host name must be labels"),
    ("10.1:1", "must not end in a number"),
    ("0x7f000001:1", "must not end in a number"),
]


@pytest.mark.parametrize(("text", "address"), ADDRESSES, ids=[text[:24] for text, _ in ADDRESSES])
def test_host_and_port_of_a_peer_are_read_by_one_rule(text, address):
    assert parse_host_port(text, 443) == address
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    assert parse_host_port(f"{host}:{address[1]}") == address


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[text[:24] for text, _ in REFUSED])
def test_a_peer_that_cannot_be_called_is_refused_with_the_rule(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_host_port(text, 443)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_a_port_is_required_where_there_is_no_default():
    with pytest.raises(ConfigError, match=r"got 'redis\.test' without a port"):
        parse_host_port("redis.test")


def test_253_bytes_of_a_name_are_taken_with_and_without_the_final_dot():
    name = "a." * 126 + "a"
    assert parse_host_name(name) == name
    assert parse_host_name(name + ".") == name + "."


def test_a_host_alone_is_an_ip_address_without_brackets_or_a_name():
    assert [parse_host(text) for text in ("2001:DB8::1", "192.0.2.1", "Lb.Test")] == [
        "2001:db8::1",
        "192.0.2.1",
        "lb.test",
    ]
    with pytest.raises(ConfigError, match="host name must be labels"):
        parse_host("[::1]")
