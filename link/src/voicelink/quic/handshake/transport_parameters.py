"""Transport parameters as bytes (RFC 9000 section 18).

aioquic does not know some, gives others a fixed value, and takes a buffer of 64 KB to encode each.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from aioquic._buffer import Buffer
from aioquic.buffer import encode_uint_var

ORIGINAL_DESTINATION_CONNECTION_ID: Final = 0x00
MAX_IDLE_TIMEOUT: Final = 0x01
STATELESS_RESET_TOKEN: Final = 0x02
MAX_UDP_PAYLOAD_SIZE: Final = 0x03
INITIAL_MAX_DATA: Final = 0x04
INITIAL_MAX_STREAM_DATA: Final = (0x05, 0x06, 0x07)
"""Of bidirectional streams that this side opens, of those that the peer opens, and of unidirectional ones."""
INITIAL_MAX_STREAMS_BIDI: Final = 0x08
INITIAL_MAX_STREAMS_UNI: Final = 0x09
ACK_DELAY_EXPONENT: Final = 0x0A
MAX_ACK_DELAY: Final = 0x0B
DISABLE_ACTIVE_MIGRATION: Final = 0x0C
PREFERRED_ADDRESS: Final = 0x0D
ACTIVE_CONNECTION_ID_LIMIT: Final = 0x0E
INITIAL_SOURCE_CONNECTION_ID: Final = 0x0F
RETRY_SOURCE_CONNECTION_ID: Final = 0x10
VERSION_INFORMATION: Final = 0x11
MAX_DATAGRAM_FRAME_SIZE: Final = 0x20


def transport_parameter(identifier: int, value: bytes) -> bytes:
    """Encode one transport parameter."""
    return encode_uint_var(identifier) + encode_uint_var(len(value)) + value


def pull_transport_parameters(data: bytes) -> dict[int, bytes]:
    """Return the value of each by its identifier; `data` is what aioquic has parsed without a fault."""
    buf, parameters = Buffer(data=data), {}
    while not buf.eof():
        identifier = buf.pull_uint_var()
        parameters[identifier] = buf.pull_bytes(buf.pull_uint_var())
    return parameters


@lru_cache(maxsize=64)
def integer_parameters(*parameters: tuple[int, int]) -> bytes:
    """Encode parameters with an integer as their value, given by identifier; those of an endpoint's connections agree.

    Raises `ValueError` for one beyond 62 bits.
    """
    return b"".join(transport_parameter(identifier, encode_uint_var(value)) for identifier, value in parameters)


@lru_cache(maxsize=16)
def version_information(chosen: int, available: tuple[int, ...]) -> bytes:
    """Encode `version_information` (RFC 9368 section 3)."""
    return transport_parameter(VERSION_INFORMATION, b"".join(each.to_bytes(4, "big") for each in (chosen, *available)))
