"""The connection ID's first byte: three config-rotation bits and five bits of length or noise.

Layout: `first byte | server ID (1..15) | nonce (4..18) | the server's own bytes`, at most 20 in all (draft sections
"First Byte" and "Server ID Allocation").
"""

from __future__ import annotations

from typing import Final

MAX_CID_LENGTH: Final = 20
"""The longest connection ID of QUIC versions 1 and 2, in bytes."""

UNROUTABLE_CONFIG_ID: Final = 0b111
"""The codepoint that belongs to no config: such CIDs always go to the fallback algorithm."""

MAX_CONFIG_ID: Final = 6
LOW_BITS: Final = 0b11111


def first_byte(config_id: int, low_bits: int) -> int:
    """Join the codepoint with the five low bits; higher bits of `low_bits` are ignored."""
    return config_id << 5 | low_bits & LOW_BITS


def config_id_of(byte: int) -> int:
    """The codepoint, 0..7."""
    return byte >> 5


def self_encoded_length(byte: int) -> int:
    """How many bytes follow the first one, if the server encodes that."""
    return byte & LOW_BITS
