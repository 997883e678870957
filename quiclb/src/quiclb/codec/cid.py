"""The connection ID's first octet: three config-rotation bits and five bits of length or noise.

Layout: `first octet | server ID (1..15) | nonce (4..18) | the server's own octets`, at most 20 in all (draft sections
"First Octet" and "Server ID Allocation").
"""

from __future__ import annotations

from typing import Final

MAX_CID_LENGTH: Final = 20
"""The longest connection ID of QUIC versions 1 and 2, in octets."""

UNROUTABLE_CONFIG_ID: Final = 0b111
"""The codepoint that belongs to no config: such CIDs always go to the fallback algorithm."""

MAX_CONFIG_ID: Final = 6
LOW_BITS: Final = 0b11111


def first_octet(config_id: int, low_bits: int) -> int:
    """Join the codepoint with the five low bits; higher bits of `low_bits` are ignored."""
    return config_id << 5 | low_bits & LOW_BITS


def config_id_of(octet: int) -> int:
    """The codepoint, 0..7."""
    return octet >> 5


def self_encoded_length(octet: int) -> int:
    """How many octets follow the first one, if the server encodes that."""
    return octet & LOW_BITS
