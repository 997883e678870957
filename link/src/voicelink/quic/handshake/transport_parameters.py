"""Transport parameters as bytes: those that aioquic does not know, and those it gives a fixed value (RFC 9000 18)."""

from __future__ import annotations

from typing import Final

from aioquic._buffer import Buffer
from aioquic.buffer import encode_uint_var

MAX_UDP_PAYLOAD_SIZE: Final = 0x03
MAX_ACK_DELAY: Final = 0x0B
DISABLE_ACTIVE_MIGRATION: Final = 0x0C
PREFERRED_ADDRESS: Final = 0x0D


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


def with_transport_parameter(data: bytes, identifier: int, value: bytes) -> bytes:
    """Return `data` with another value for a parameter, which must not occur twice; it is added where it is missing."""
    buf = Buffer(data=data)
    while not buf.eof():
        start = buf.tell()
        found = buf.pull_uint_var()
        length = buf.pull_uint_var()
        end = buf.tell() + length
        if found == identifier:
            return data[:start] + transport_parameter(identifier, value) + data[end:]
        buf.seek(end)
    return data + transport_parameter(identifier, value)
