from __future__ import annotations

import pytest
from aioquic._buffer import Buffer
from aioquic.quic.packet import QuicErrorCode, QuicPacketType, QuicProtocolVersion, pull_quic_header

from quiclb.routing.packet import LongHeader
from tests.unit.voicelink.quic.harness import SERVER_ADDRESS, client_configuration, seeded
from voicelink.quic import Connection
from voicelink.quic.cid_source import RandomCids
from voicelink.quic.events import ConnectionTerminated
from voicelink.quic.stateless import (
    first_initial,
    initial_close,
    opening_keys,
    parse_long_header,
    stateless_reset,
    version_negotiation,
)

MIN_INITIAL_BYTES = 1200
HEADER = LongHeader(QuicProtocolVersion.VERSION_1, b"destination", b"source")


@pytest.mark.parametrize("datagram", [b"", b"\x40" + bytes(40), b"\xc0\0\0\0\1\x08" + bytes(8) + b"\x03ab"])
def test_only_a_whole_long_header_is_one(datagram: bytes) -> None:
    """What a long header holds is a matter of quiclb.routing.packet, and tested there."""
    assert parse_long_header(datagram) is None


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


def first_datagram(version: int = QuicProtocolVersion.VERSION_1) -> bytes:
    configuration = client_configuration(original_version=version)
    client = Connection(configuration=configuration, cids=RandomCids(8, seeded(1)))
    client.connect(SERVER_ADDRESS, 0.0)
    return client.datagrams_to_send(0.0)[0][0]


def is_decryptable(datagram: bytes) -> bool:
    header = parse_long_header(datagram)
    assert header is not None
    initial = first_initial(header, datagram)
    assert initial is not None
    return opening_keys(header, initial, datagram) is not None


@pytest.mark.parametrize("version", [QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2])
def test_an_initial_is_decrypted_with_the_keys_of_its_version_and_connection_id(version: int) -> None:
    datagram = first_datagram(version)
    assert is_decryptable(datagram)
    assert is_decryptable(datagram + b"another packet")


@pytest.mark.parametrize("offset", [6, 19, 60, 300])
def test_an_initial_with_one_changed_byte_cannot_be_decrypted(offset: int) -> None:
    datagram = first_datagram()
    assert not is_decryptable(datagram[:offset] + bytes((datagram[offset] ^ 1,)) + datagram[offset + 1 :])


def test_an_initial_too_short_to_be_sampled_cannot_be_decrypted() -> None:
    # one byte of packet number, nothing to sample for header protection (RFC 9001 section 5.4.2)
    datagram = b"\xc0\0\0\0\1\x08" + bytes(8) + b"\0\0\1x"
    assert not is_decryptable(datagram.ljust(1200, b"\0"))


def test_an_answer_without_a_connection_is_smaller_than_the_initial() -> None:
    """RFC 9000 section 8.1: less than three times; version negotiation with the longest connection IDs of RFC 8999."""
    longest = LongHeader(0x1A2A3A4A, bytes(255), bytes(255))
    assert len(version_negotiation(longest, seeded(1))) < MIN_INITIAL_BYTES
    header = LongHeader(QuicProtocolVersion.VERSION_1, bytes(20), bytes(20))
    assert len(initial_close(header, QuicErrorCode.CONNECTION_REFUSED)) < MIN_INITIAL_BYTES
