"""WAV files as programs really write them."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicelink.audio.wav import WavError, parse_wav, wav_header

EXTENSIBLE_TAIL = struct.pack("<HHIH", 22, 16, 0, 1) + bytes.fromhex("0000000010008000 00aa00389b71")


def riff(data: bytes, *, tag: int = 1, channels: int = 1, rate: int = 8000, bits: int = 16, tail: bytes = b"") -> bytes:
    width = bits // 8 * channels
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * width, width, bits) + tail
    chunks = b"".join(
        name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
        for name, body in ((b"fmt ", form), (b"LIST", b"odd"), (b"data", data))
    )
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=50))
def test_pcm16_survives(samples: list[int]) -> None:
    data = np.array(samples, "<i2").tobytes()
    sound = parse_wav(wav_header(16_000, len(data)) + data)
    assert sound.rate_hz == 16_000
    assert list(np.round(sound.samples * 32768)) == samples


HALF = {
    "8 bits": riff(bytes([192]), bits=8),
    "16 bits": riff(struct.pack("<h", 16384)),
    "24 bits": riff(b"\x00\x00\x40", bits=24),
    "32 bits": riff(struct.pack("<i", 1 << 30), bits=32),
    "float": riff(struct.pack("<f", 0.5), tag=3, bits=32),
    "double": riff(struct.pack("<d", 0.5), tag=3, bits=64),
    "extensible": riff(struct.pack("<h", 16384), tag=0xFFFE, tail=EXTENSIBLE_TAIL),
    "stereo": riff(struct.pack("<hh", 32767, 1), channels=2),
    "cut short": riff(struct.pack("<h", 16384))[:-2] + struct.pack("<h", 16384) + b"\x01",
}


@pytest.mark.parametrize("name", HALF)
def test_every_common_form_is_read(name: str) -> None:
    sound = parse_wav(HALF[name])
    assert sound.samples.dtype == np.float32
    assert sound.samples == pytest.approx([0.5], abs=1e-4)


def sized(data: bytes, size: int) -> bytes:
    """The same file with this size of its samples in the header."""
    at = data.rindex(b"data") + 4
    return data[:at] + struct.pack("<I", size) + data[at + 4 :]


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 1000])
@pytest.mark.parametrize("samples", [[1000], [1000, -2000, 3000], [0x4141, 0x4141, 0x4141, 0x4141]])
def test_samples_of_a_streamed_file_reach_to_its_end(size: int, samples: list[int]) -> None:
    data = riff(np.array(samples, "<i2").tobytes())
    assert list(np.round(parse_wav(sized(data, size)).samples * 32768)) == samples


def test_no_samples_are_none_even_where_other_chunks_follow() -> None:
    for rest in (b"", b"LIST\x04\x00\x00\x00abcd", b"LIST\x03\x00\x00\x00abc\x00"):
        with pytest.raises(WavError, match="holds no samples"):
            parse_wav(riff(b"") + rest)


@pytest.mark.parametrize("name", [b"LIST", b"bext", b"xyz!"])
def test_a_chunk_of_odd_length_may_lack_its_pad_byte(name: bytes) -> None:
    data = riff(struct.pack("<h", 16384))
    at = data.index(b"LIST")
    padded = data[:at] + name + struct.pack("<I", 3) + b"abc\x00" + data[at + 12 :]
    unpadded = padded.replace(b"abc\x00", b"abc")
    assert len(padded) == len(unpadded) + 1
    for each in (padded, unpadded):
        assert parse_wav(each).samples == pytest.approx([0.5])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not a WAV file"),
        (b"ID3" + bytes(40), "not a WAV file"),
        (b"RF64\xff\xff\xff\xffWAVE" + bytes(40), "an RF64 file, which is not supported; convert it"),
        (b"RIFX\x00\x00\x00\x04WAVE" + bytes(40), "a big-endian WAV file, which is not supported; convert it"),
        (b"RIFF\x04\x00\x00\x00WAVE", "holds no samples"),
        (riff(b""), "holds no samples"),
        (riff(b"\x00\x00", tag=2), "WAV format 2 with 16 bits is not supported"),
        (riff(b"\x00\x00", channels=0), "claims 0 channels"),
        (riff(b"\x00\x00", rate=3), "at 3 Hz"),
        (b"RIFF\x04\x00\x00\x00WAVEdata\x02\x00\x00\x00\x00\x00", "samples before their format"),
        (b"RIFF\x04\x00\x00\x00WAVEfmt \x02\x00\x00\x00\x00\x00", "cut short"),
    ],
)
def test_what_cannot_be_read_is_named(data: bytes, sentence: str) -> None:
    with pytest.raises(WavError, match=sentence):
        parse_wav(data)


@given(st.binary(max_size=120))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    with suppress(WavError):
        parse_wav(b"RIFF\x00\x00\x00\x00WAVE" + body)
