from __future__ import annotations

import pytest

from quiclb.routing.packet import LongHeader, PacketFault, ShortHeader, parse_packet


def long_header(dcid: bytes, scid: bytes, first: int = 0xC0, version: int = 1) -> bytes:
    return b"".join((bytes((first,)), version.to_bytes(4, "big"), bytes((len(dcid),)), dcid, bytes((len(scid),)), scid))


@pytest.mark.parametrize("length", [0, 1, 8, 20, 21, 255])
def test_long_header_connection_ids_of_any_length(length):
    dcid, scid = bytes(range(length)), bytes(reversed(range(length)))
    assert parse_packet(long_header(dcid, scid) + b"payload") == LongHeader(1, dcid, scid)


@pytest.mark.parametrize("version", [0, 1, 0x6B3343CF, 0xFFFFFFFF])
def test_any_version_is_read(version):
    assert parse_packet(long_header(b"d", b"s", version=version)) == LongHeader(version, b"d", b"s")


@pytest.mark.parametrize("first", [0x80, 0x8F, 0xBF, 0xFF])
def test_only_the_top_bit_of_the_first_byte_counts(first):
    assert parse_packet(long_header(b"d", b"s", first)) == LongHeader(1, b"d", b"s")
    assert parse_packet(bytes((first & 0x7F,)) + b"abc") == ShortHeader(b"abc")


def test_short_header_hands_on_at_most_20_bytes():
    assert parse_packet(b"\x40" + bytes(range(100))) == ShortHeader(bytes(range(20)))
    assert parse_packet(b"\x40") == ShortHeader(b"")


def test_every_truncation_of_a_long_header_is_a_value():
    whole = long_header(b"destination", b"source")
    for length in range(1, len(whole)):
        assert parse_packet(whole[:length]) is PacketFault.TRUNCATED
    assert parse_packet(b"") is PacketFault.EMPTY
