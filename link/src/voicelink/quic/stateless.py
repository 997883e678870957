"""Packets an endpoint answers with before, or after, a connection exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aioquic._buffer import Buffer
from aioquic._crypto import CryptoError
from aioquic.quic.connection import TRANSPORT_CLOSE_FRAME_CAPACITY
from aioquic.quic.packet import (
    QuicErrorCode,
    QuicFrameType,
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_retry,
    pull_quic_header,
)
from aioquic.quic.packet_builder import QuicPacketBuilder

from quiclb.codec.cid import MAX_CID_LENGTH
from quiclb.routing.packet import LongHeader, parse_packet
from voicelink.quic.cid_source import RESET_TOKEN_BYTES, RandomBytes
from voicelink.quic.handshake.initial_keys import InitialPair

SUPPORTED_VERSIONS: Final = (QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2)
MIN_INITIAL_BYTES: Final = 1200
"""The least a client must pad an Initial datagram to (RFC 9000 section 14.1)."""
MIN_CLIENT_DCID_BYTES: Final = 8
"""The least a client must draw for its first destination connection ID (RFC 9000 section 7.2)."""

_MIN_RESET_BYTES: Final = 21
_MAX_RESET_BYTES: Final = 43


def parse_long_header(datagram: bytes) -> LongHeader | None:
    """Return the long header of a datagram's first packet; `None` for a short header, or a long one that is cut off."""
    packet = parse_packet(datagram)
    return packet if isinstance(packet, LongHeader) else None


@dataclass(frozen=True, slots=True)
class FirstInitial:
    """An Initial packet that may begin a connection: its token, empty where it has none, and where it lies.

    `encrypted_offset` and `end` count bytes from the start of the datagram.
    """

    token: bytes
    encrypted_offset: int
    end: int


def first_initial(header: LongHeader, datagram: bytes) -> FirstInitial | None:
    """Read the Initial packet at the start of a datagram; `None` for any packet that cannot begin a connection."""
    if (
        len(datagram) < MIN_INITIAL_BYTES
        or not MIN_CLIENT_DCID_BYTES <= len(header.dcid) <= MAX_CID_LENGTH
        or len(header.scid) > MAX_CID_LENGTH
    ):
        return None
    buffer = Buffer(data=datagram)
    try:
        initial = pull_quic_header(buffer, host_cid_length=0)
    except ValueError:
        return None
    if initial.packet_type is not QuicPacketType.INITIAL:
        return None
    return FirstInitial(initial.token, buffer.tell(), initial.packet_length)


def opening_keys(header: LongHeader, initial: FirstInitial, datagram: bytes) -> InitialPair | None:
    """Return the Initial keys of the packet, if it is protected with its client's (RFC 9001 section 5.2); else `None`.

    So an endpoint builds a connection only for a packet that a client made, and the connection goes on with the keys.
    """
    keys = InitialPair(header.dcid, header.version)
    try:
        keys.recv.decrypt_packet(datagram[: initial.end], initial.encrypted_offset, 0)
    except CryptoError:
        return None
    return keys


def version_negotiation(header: LongHeader, rng: RandomBytes) -> bytes:
    """Return the packet that names the versions supported here (RFC 8999 section 6)."""
    versions = b"".join(version.to_bytes(4, "big") for version in SUPPORTED_VERSIONS)
    return b"".join(
        (
            bytes((rng(1)[0] | 0xC0,)),
            bytes(4),
            bytes((len(header.scid),)),
            header.scid,
            bytes((len(header.dcid),)),
            header.dcid,
            versions,
        )
    )


def stateless_reset(trigger_bytes: int, token: bytes, rng: RandomBytes) -> bytes | None:
    """Return a reset for a datagram of that size, always smaller than it so that two endpoints cannot loop.

    `None` where the trigger is too small for any (RFC 9000 section 10.3.3).
    """
    size = min(trigger_bytes - 1, _MAX_RESET_BYTES)
    if size < _MIN_RESET_BYTES:
        return None
    noise = rng(size - RESET_TOKEN_BYTES)
    return bytes((noise[0] & 0x3F | 0x40,)) + noise[1:] + token


def retry(header: LongHeader, source_cid: bytes, token: bytes) -> bytes:
    """Ask a client to come back with `token`, for the connection ID `source_cid` (RFC 9000 section 17.2.5)."""
    return encode_quic_retry(
        version=header.version,
        source_cid=source_cid,
        destination_cid=header.scid,
        original_destination_cid=header.dcid,
        retry_token=token,
    )


def initial_close(header: LongHeader, error_code: QuicErrorCode) -> bytes:
    """Refuse a connection attempt with one Initial packet, keeping no state (RFC 9000 section 5.2.2)."""
    crypto = InitialPair(header.dcid, header.version).complete()
    builder = QuicPacketBuilder(
        host_cid=header.dcid,
        is_client=False,
        max_datagram_size=MIN_INITIAL_BYTES,
        peer_cid=header.scid,
        version=header.version,
    )
    builder.start_packet(QuicPacketType.INITIAL, crypto)
    frame = builder.start_frame(QuicFrameType.TRANSPORT_CLOSE, capacity=TRANSPORT_CLOSE_FRAME_CAPACITY)
    frame.push_uint_var(error_code)
    frame.push_uint_var(QuicFrameType.PADDING)
    frame.push_uint_var(0)
    datagrams, _ = builder.flush()
    return datagrams[0]
