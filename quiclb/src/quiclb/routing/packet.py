"""The version-independent part of QUIC packets, all that a load balancer may rely on (RFC 8999).

Only the first packet of a datagram is looked at; coalesced packets share its connection ID.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from quiclb.codec.cid import MAX_CID_LENGTH

LONG_FORM: Final = 0x80
"""The header form bit of the first byte."""

MAX_SHORT_DCID: Final = MAX_CID_LENGTH
"""How much of a short header's undelimited DCID is handed on; no decoder needs more."""


@dataclass(frozen=True, slots=True)
class LongHeader:
    """Connection IDs are 0..255 bytes; `version` 0 marks Version Negotiation."""

    version: int
    dcid: bytes
    scid: bytes


@dataclass(frozen=True, slots=True)
class ShortHeader:
    """`dcid` is the first bytes behind the first one, at most 20: where the DCID ends is for its issuer to know."""

    dcid: bytes


class PacketFault(StrEnum):
    """Why a datagram cannot be QUIC."""

    EMPTY = "empty-datagram"
    TRUNCATED = "truncated-long-header"


def parse_packet(datagram: bytes) -> LongHeader | ShortHeader | PacketFault:
    """Read the header of the datagram's first packet (RFC 8999 section 5)."""
    if not datagram:
        return PacketFault.EMPTY
    if not datagram[0] & LONG_FORM:
        return ShortHeader(datagram[1 : 1 + MAX_SHORT_DCID])
    if len(datagram) < 7:
        return PacketFault.TRUNCATED
    dcid_end = 6 + datagram[5]
    if dcid_end >= len(datagram):
        return PacketFault.TRUNCATED
    scid_end = dcid_end + 1 + datagram[dcid_end]
    if scid_end > len(datagram):
        return PacketFault.TRUNCATED
    return LongHeader(int.from_bytes(datagram[1:5], "big"), datagram[6:dcid_end], datagram[dcid_end + 1 : scid_end])
