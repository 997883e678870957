"""WAV files of any rate, width and number of channels, as mono samples. Sans-IO.

The standard library's `wave` refuses float samples, before Python 3.12 WAVE_FORMAT_EXTENSIBLE, and the headers of files
that were streamed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_KNOWN_CHUNKS: Final = frozenset(
    (
        b"fmt ",
        b"data",
        b"fact",
        b"LIST",
        b"INFO",
        b"bext",
        b"cue ",
        b"plst",
        b"smpl",
        b"inst",
        b"PEAK",
        b"JUNK",
        b"junk",
    )
)
_RELATIVES: Final = {b"RF64": "an RF64 file", b"BW64": "a BW64 file", b"RIFX": "a big-endian WAV file"}


class WavError(ValueError):
    """What is no WAV file, or one of a kind that is not read; the message says which."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Mono samples between -1 and 1 at `rate_hz`."""

    samples: NDArray[np.float32]
    rate_hz: int

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate_hz


def parse_wav(data: bytes) -> Sound:
    """Read a RIFF/WAVE file and mix its channels; raises `WavError`.

    A program that writes to a pipe cannot know the length of the samples and leaves 0 or a number beyond the end of the
    file in front of them: then they reach to the end.
    """
    if data[:4] in _RELATIVES and data[8:12] == b"WAVE":
        raise WavError(f"{_RELATIVES[data[:4]]}, which is not supported; convert it to a plain WAV file")
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise WavError("not a WAV file")
    form: tuple[int, int, int, int] | None = None
    for name, body in _chunks(data):
        if name == b"fmt ":
            form = _format(body)
        elif name == b"data":
            if form is None:
                raise WavError("the WAV file has samples before their format")
            return _sound(body, *form)
    raise WavError("the WAV file holds no samples")


def wav_header(rate_hz: int, data_bytes: int, channels: int = 1) -> bytes:
    """The 44 bytes in front of PCM16."""
    head = struct.pack("<4sI4s", b"RIFF", 36 + data_bytes, b"WAVE")
    width = 2 * channels
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, _PCM, channels, rate_hz, rate_hz * width, width, 16)
    return head + form + struct.pack("<4sI", b"data", data_bytes)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset = 12
    while offset + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, offset)
        offset += 8
        if name == b"data" and length == 0 and not _is_chunk_chain(data, offset):
            length = len(data) - offset
        yield name, data[offset : offset + length]
        offset = _next_chunk(data, offset + length, length)


def _next_chunk(data: bytes, end: int, length: int) -> int:
    """Where the chunk after one of `length` bytes begins: behind a pad byte if that is odd. Some writers omit it."""
    if length % 2 == 0:
        return end
    name, padded_name = data[end : end + 4], data[end + 1 : end + 5]
    is_left_out = padded_name not in _KNOWN_CHUNKS and (name in _KNOWN_CHUNKS or (len(name) == 4 and _is_id(name)))
    return end if is_left_out else end + 1


def _is_chunk_chain(data: bytes, offset: int) -> bool:
    """Whether nothing but chunks lies between `offset` and the end of the file."""
    while offset + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, offset)
        if not _is_id(name):
            return False
        offset = _next_chunk(data, offset + 8 + length, length)
    return offset - len(data) in (0, 1)  # the last pad byte may be missing


def _is_id(name: bytes) -> bool:
    return all(0x20 <= byte <= 0x7E for byte in name)


def _format(body: bytes) -> tuple[int, int, int, int]:
    if len(body) < 16:
        raise WavError("the WAV file's format is cut short")
    tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if tag == _EXTENSIBLE and len(body) >= 26:
        (tag,) = struct.unpack_from("<H", body, 24)
    if not channels or not 1000 <= rate_hz <= 768_000:
        raise WavError(f"the WAV file claims {channels} channels at {rate_hz} Hz")
    return tag, channels, rate_hz, bits


def _sound(body: bytes, tag: int, channels: int, rate_hz: int, bits: int) -> Sound:
    width = bits // 8 * channels
    if not (width and _is_readable(tag, bits)):
        raise WavError(f"WAV format {tag} with {bits} bits is not supported; PCM of 8, 16, 24 or 32 bits and float are")
    body = body[: len(body) // width * width]
    if not body:
        raise WavError("the WAV file holds no samples")
    samples = np.nan_to_num(_samples(body, tag, bits)).reshape(-1, channels).mean(axis=1)
    return Sound(samples.clip(-1.0, 1.0).astype(np.float32), rate_hz)


def _is_readable(tag: int, bits: int) -> bool:
    return (tag == _PCM and bits in (8, 16, 24, 32)) or (tag == _FLOAT and bits in (32, 64))


def _samples(body: bytes, tag: int, bits: int) -> NDArray[np.floating]:
    if tag == _FLOAT:
        return np.frombuffer(body, "<f4" if bits == 32 else "<f8")
    if bits == 8:
        return (np.frombuffer(body, np.uint8) - np.float32(128)) / 128
    if bits == 24:
        raw = np.frombuffer(body, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(raw), 4), np.uint8)
        wide[:, 1:] = raw
        return np.asarray(wide.view("<i4")[:, 0] / 2**31)
    return np.asarray(np.frombuffer(body, "<i2" if bits == 16 else "<i4") / 2 ** (bits - 1))
