from __future__ import annotations

import pytest
from aioquic._buffer import Buffer
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicErrorCode, QuicPacketType, QuicProtocolVersion, pull_quic_header

from gateway.quic.cid_source import RandomCids
from gateway.quic.connection import Connection
from gateway.quic.stateless import (
    LongHeader,
    initial_close,
    parse_long_header,
    stateless_reset,
    version_negotiation,
)
from tests.unit.gateway.quic.harness import SERVER_ADDRESS, client_configuration, seeded

HEADER = LongHeader(QuicProtocolVersion.VERSION_1, b"destination", b"source")


def test_a_long_header_of_any_version_is_read() -> None:
    datagram = b"\x80" + (0xFACEB00C).to_bytes(4, "big") + b"\xff" + bytes(255) + b"\x03abc" + b"rest"
    assert parse_long_header(datagram) == LongHeader(0xFACEB00C, bytes(255), b"abc")


@pytest.mark.parametrize("length", range(18))
def test_a_long_header_cut_short_is_none(length: int) -> None:
    assert parse_long_header((b"\xc0\0\0\0\1\x08" + bytes(8) + b"\x03abc")[:length]) is None


def test_version_negotiation_swaps_the_connection_ids_and_names_both_versions() -> None:
    packet = pull_quic_header(Buffer(data=version_negotiation(HEADER, seeded(1))))
    assert packet.packet_type is QuicPacketType.VERSION_NEGOTIATION
    assert (packet.destination_cid, packet.source_cid) == (b"source", b"destination")
    assert packet.supported_versions == [QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2]


@pytest.mark.parametrize("size", [22, 30, 43, 44, 100, 1200])
def test_a_reset_is_smaller_than_its_trigger_looks_like_a_short_header_and_ends_with_the_token(size: int) -> None:
    reset = stateless_reset(size, b"t" * 16, seeded(1))
    assert reset is not None
    assert 21 <= len(reset) < size
    assert reset[0] & 0xC0 == 0x40
    assert reset.endswith(b"t" * 16)


@pytest.mark.parametrize("size", [0, 1, 21])
def test_a_trigger_too_small_gets_no_reset(size: int) -> None:
    assert stateless_reset(size, b"t" * 16, seeded(1)) is None


def test_a_client_understands_a_refusal() -> None:
    client = Connection(configuration=client_configuration(), cids=RandomCids(8, seeded(1)))
    client.connect(SERVER_ADDRESS, 0.0)
    [(initial, _), *_] = client.datagrams_to_send(0.0)
    header = parse_long_header(initial)
    assert header is not None
    client.receive_datagram(initial_close(header, QuicErrorCode.CONNECTION_REFUSED), SERVER_ADDRESS, 0.01)
    client.handle_timer(10.0)
    events = [client.next_event() for _ in range(3)]
    [ended] = [event for event in events if isinstance(event, ConnectionTerminated)]
    assert ended.error_code == QuicErrorCode.CONNECTION_REFUSED
