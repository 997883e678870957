"""An IPv4 packet, and what a NAT does to it."""

from __future__ import annotations

import socket
import struct

import pytest

from testbed.link.packet import TCP, UDP, read
from testbed.simnet.addresses import Address

CALLER, SERVER, OUTSIDE = Address("10.99.0.1", 5_000), Address("10.99.0.2", 443), Address("198.51.100.1", 40_001)


def ones_complement(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo_header(data: bytes) -> bytes:
    return data[12:20] + struct.pack("!BBH", 0, data[9], len(data) - 20)


def packet(protocol: int, *, has_checksum: bool = True) -> bytes:
    payload = b"hello world!"
    if protocol == UDP:
        inner = struct.pack("!HHHH", CALLER.port, SERVER.port, 8 + len(payload), 0) + payload
    else:
        inner = struct.pack("!HHIIBBHHH", CALLER.port, SERVER.port, 1, 2, 0x50, 0x18, 1_000, 0, 0) + payload
    ends = socket.inet_aton(CALLER.host) + socket.inet_aton(SERVER.host)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(inner), 1, 0, 64, protocol, 0) + ends
    header = header[:10] + ones_complement(header).to_bytes(2, "big") + header[12:]
    data = bytearray(header + inner)
    if has_checksum:
        at = 20 + (6 if protocol == UDP else 16)
        data[at : at + 2] = ones_complement(pseudo_header(bytes(data)) + inner).to_bytes(2, "big")
    return bytes(data)


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_rewritten_packet_has_the_right_addresses_and_checksums(protocol: int) -> None:
    original = read(packet(protocol))
    assert original is not None
    outward = read(original.from_source(OUTSIDE))
    assert outward is not None
    assert (outward.source, outward.to) == (OUTSIDE, SERVER)
    assert ones_complement(outward.data[:20]) == 0
    assert ones_complement(pseudo_header(outward.data) + outward.data[20:]) == 0
    back = read(outward.to_destination(CALLER))
    assert back is not None
    assert (back.source, back.to) == (OUTSIDE, CALLER)
    assert ones_complement(pseudo_header(back.data) + back.data[20:]) == 0


def test_udp_without_checksum_stays_without() -> None:
    original = read(packet(UDP, has_checksum=False))
    assert original is not None
    assert original.from_source(OUTSIDE)[26:28] == b"\0\0"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        packet(UDP)[:22],
        b"\x60" + packet(UDP)[1:],
        packet(UDP)[:9] + b"\x01" + packet(UDP)[10:],
        packet(UDP)[:6] + b"\x00\x10" + packet(UDP)[8:],
    ],
    ids=["empty", "cut off", "IPv6", "ICMP", "later fragment"],
)
def test_what_has_no_ports_is_no_packet(data: bytes) -> None:
    assert read(data) is None
