"""The classic BPF program of a SO_REUSEPORT group: datagram in, index of a socket out. Sans-IO.

The kernel runs it over the UDP payload of each datagram. It reads what RFC 8999 fixes, the form bit, the length and the
place of the destination connection ID, and the server ID of a QUIC-LB plaintext config.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from quiclb import QuicLbConfig
from voice_gateway.errors import ConfigurationError

SERVER_ID_BYTES: Final = 4
"""What one load of the program reads; so long, no connection ID that a client draws has a server ID by accident."""


class Instruction(NamedTuple):
    """`struct sock_filter` (linux/filter.h): operation, jumps if true and if false, operand."""

    code: int
    jump_true: int
    jump_false: int
    operand: int


@dataclass(frozen=True, slots=True)
class Route:
    """Datagrams whose connection ID has `server_id` go to the socket of this index."""

    server_id: bytes
    index: int


@dataclass(frozen=True, slots=True)
class Steering:
    """Where datagrams go: `routes` by server ID, all others by a hash to one of the sockets in `accepting`.

    A server ID whose worker is gone may lead to another worker, which answers with stateless resets.
    """

    routes: tuple[Route, ...]
    accepting: tuple[int, ...]


def steering_layout(config_id: int = 0) -> QuicLbConfig:
    """Return the config whose connection IDs `steering_program` reads: plaintext, 17 bytes, length in the first one."""
    return QuicLbConfig(
        config_id=config_id, server_id_length=SERVER_ID_BYTES, nonce_length=12, first_byte_encodes_cid_length=True
    )


def steering_program(layout: QuicLbConfig, steering: Steering) -> list[Instruction]:
    """Return the program; raises `ConfigurationError` for a layout that it cannot read.

    A long header's connection ID counts as one of ours only if its length is that of the layout: those that clients
    draw are placed by a hash of their first bytes, so that all packets of a first flight meet, from any address.
    """
    if layout.key is not None:
        raise ConfigurationError("the kernel steers by connection IDs in clear: the config must have no key")
    if layout.server_id_length != SERVER_ID_BYTES or not layout.first_byte_encodes_cid_length:
        raise ConfigurationError(f"server IDs must have {SERVER_ID_BYTES} bytes, and the first byte the length")
    if not steering.accepting:
        raise ConfigurationError("no socket accepts new connections")
    first_byte = layout.config_id << 5 | layout.cid_length - 1
    routes = [
        each
        for route in steering.routes
        for each in (
            Instruction(_JUMP_EQUAL, 0, 1, int.from_bytes(route.server_id, "big")),
            Instruction(_RETURN, 0, 0, route.index),
        )
    ]
    by_hash = _by_hash(steering.accepting)
    short = [
        Instruction(_LOAD_BYTE, 0, 0, _SHORT_DCID),
        Instruction(_JUMP_EQUAL, 1, 0, first_byte),
        Instruction(_JUMP, 0, 0, 1 + len(routes)),
        Instruction(_LOAD_WORD, 0, 0, _SHORT_DCID + 1),
        *routes,
        Instruction(_LOAD_WORD, 0, 0, _SHORT_DCID),
        *by_hash,
    ]
    long = [
        Instruction(_LOAD_BYTE, 0, 0, _LONG_DCID_LENGTH),
        Instruction(_JUMP_EQUAL, 1, 0, layout.cid_length),
        Instruction(_JUMP, 0, 0, 4 + len(routes)),  # its DCID is another's: to the hash
        Instruction(_LOAD_BYTE, 0, 0, _LONG_DCID),
        Instruction(_JUMP_EQUAL, 1, 0, first_byte),
        Instruction(_JUMP, 0, 0, 1 + len(routes)),
        Instruction(_LOAD_WORD, 0, 0, _LONG_DCID + 1),
        *routes,
        Instruction(_LOAD_WORD, 0, 0, _LONG_DCID),
        *by_hash,
    ]
    return [
        Instruction(_LOAD_LENGTH, 0, 0, 0),
        Instruction(_JUMP_AT_LEAST, 1, 0, _LEAST_BYTES),
        Instruction(_RETURN, 0, 0, steering.accepting[0]),  # too short for QUIC; a load beyond its end would return 0
        Instruction(_LOAD_BYTE, 0, 0, 0),
        Instruction(_JUMP_SET, 1, 0, _FORM_BIT),
        Instruction(_JUMP, 0, 0, len(long)),
        *long,
        *short,
    ]


def packed(program: Sequence[Instruction]) -> bytes:
    """Return the instructions as the kernel reads them."""
    return b"".join(struct.pack("=HBBI", *each) for each in program)


def _by_hash(accepting: Sequence[int]) -> list[Instruction]:
    """Return the socket for the four bytes in the accumulator."""
    return [
        Instruction(_MULTIPLY, 0, 0, _GOLDEN_RATIO),
        Instruction(_SHIFT_RIGHT, 0, 0, 16),
        Instruction(_MODULO, 0, 0, len(accepting)),
        *(
            each
            for number, index in enumerate(accepting)
            for each in (Instruction(_JUMP_EQUAL, 0, 1, number), Instruction(_RETURN, 0, 0, index))
        ),
        Instruction(_RETURN, 0, 0, accepting[0]),
    ]


_FORM_BIT: Final = 0x80
_LONG_DCID_LENGTH: Final = 5
_LONG_DCID: Final = 6
_SHORT_DCID: Final = 1
_LEAST_BYTES: Final = _LONG_DCID + 1 + SERVER_ID_BYTES
_GOLDEN_RATIO: Final = 0x9E3779B1

# linux/bpf_common.h, linux/filter.h
_LOAD_WORD: Final = 0x20
_LOAD_BYTE: Final = 0x30
_LOAD_LENGTH: Final = 0x80
_JUMP: Final = 0x05
_JUMP_EQUAL: Final = 0x15
_JUMP_AT_LEAST: Final = 0x35
_JUMP_SET: Final = 0x45
_MULTIPLY: Final = 0x24
_SHIFT_RIGHT: Final = 0x74
_MODULO: Final = 0x94
_RETURN: Final = 0x06
