"""Opus in Ogg files (RFC 7845), written. Sans-IO."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from voicelink.audio.frames import FRAME_TICKS

_SEGMENT_BYTES: Final = 255
_PACKETS_PER_PAGE: Final = 50
_BEGIN, _END = 2, 4
_VENDOR: Final = b"voice-gateway"
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg_opus(packets: Iterable[bytes], *, channels: int, pre_skip: int, samples: int, serial: int) -> Iterator[bytes]:
    """Yield the pages of a file with packets of 20 ms each; `pre_skip` and `samples` are at 48 kHz.

    A player leaves out the first `pre_skip` samples that it decodes, and all behind the `samples` that follow them.
    """
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, channels, pre_skip, 48_000, 0, 0)
    tags = struct.pack("<8sI", b"OpusTags", len(_VENDOR)) + _VENDOR + struct.pack("<I", 0)
    yield _page([head], 0, serial, 0, _BEGIN)
    yield _page([tags], 0, serial, 1, 0)
    number, decoded = 2, 0
    waiting: list[bytes] = []
    for packet in packets:
        if len(waiting) == _PACKETS_PER_PAGE:
            yield _page(waiting, decoded, serial, number, 0)
            number, waiting = number + 1, []
        waiting.append(packet)
        decoded += FRAME_TICKS
    yield _page(waiting, min(decoded, pre_skip + samples), serial, number, _END)


def _page(packets: list[bytes], position: int, serial: int, number: int, flags: int) -> bytes:
    """Return a page of whole packets (RFC 3533 section 6)."""
    lacing = b"".join(
        bytes([_SEGMENT_BYTES]) * (len(packet) // _SEGMENT_BYTES) + bytes([len(packet) % _SEGMENT_BYTES])
        for packet in packets
    )
    header = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, position, serial, number, 0, len(lacing)) + lacing
    page = header + b"".join(packets)
    return page[:22] + struct.pack("<I", _checksum(page)) + page[26:]


def _checksum(data: bytes) -> int:
    """CRC-32 as Ogg has it, most significant bit first and from 0, by the other one of zlib."""
    register = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{register:032b}"[::-1], 2)
