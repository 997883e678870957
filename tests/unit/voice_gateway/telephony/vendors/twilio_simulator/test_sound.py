from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from voice_gateway.errors import ConfigurationError
from voice_gateway.telephony.vendors.twilio_simulator.sound import read_telephone_wav, telephone_wav
from voicelink.audio.codecs.g711 import pcmu_encode


def written(path: Path, samples: np.ndarray, rate_hz: int, channels: int = 1, byte_count: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(byte_count)
        file.setframerate(rate_hz)
        file.writeframes(samples.tobytes())
    return path


def tone(rate_hz: int) -> np.ndarray:
    return (np.sin(np.arange(rate_hz) * 2 * np.pi * 440 / rate_hz) * 8_000).astype("<i2")


def test_8_khz_is_only_coded(tmp_path: Path) -> None:
    payload = read_telephone_wav(written(tmp_path / "a.wav", tone(8_000), 8_000))
    assert payload == pcmu_encode(tone(8_000).tobytes())


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_other_rates_last_as_long(tmp_path: Path, rate_hz: int) -> None:
    assert len(read_telephone_wav(written(tmp_path / "a.wav", tone(rate_hz), rate_hz))) == 8_000


def test_channels_are_mixed(tmp_path: Path) -> None:
    stereo = np.repeat(tone(8_000), 2)
    assert read_telephone_wav(written(tmp_path / "a.wav", stereo, 8_000, channels=2)) == pcmu_encode(
        tone(8_000).tobytes()
    )


def test_what_was_written_can_be_read(tmp_path: Path) -> None:
    payload = pcmu_encode(tone(8_000).tobytes())
    (tmp_path / "a.wav").write_bytes(telephone_wav(payload))
    assert read_telephone_wav(tmp_path / "a.wav") == payload


def test_extensible_pcm_and_streamed_files_are_read(tmp_path: Path) -> None:
    pcm = tone(8_000).tobytes()
    guid = bytes.fromhex("0100000000001000800000aa00389b71")
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 8_000, 16_000, 2, 16, 22, 16, 4) + guid
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 0xFFFFFFFF) + pcm
    (tmp_path / "a.wav").write_bytes(b"RIFF\xff\xff\xff\xffWAVE" + chunks)
    assert read_telephone_wav(tmp_path / "a.wav") == pcmu_encode(pcm)


@pytest.mark.parametrize(("byte_count", "scale"), [(3, 256), (4, 65_536)])
def test_wide_samples_are_read(tmp_path: Path, byte_count: int, scale: int) -> None:
    wide = (tone(8_000).astype("<i4") * scale).view(np.uint8).reshape(-1, 4)[:, :byte_count]
    path = written(tmp_path / "a.wav", np.ascontiguousarray(wide), 8_000, byte_count=byte_count)
    assert read_telephone_wav(path) == pcmu_encode(tone(8_000).tobytes())


def test_files_that_cannot_be_read_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").write_bytes(telephone_wav(b""))
    for path, message in (
        (tmp_path / "none.wav", "no such file"),
        (tmp_path / "text.wav", "not a WAV file"),
        (tmp_path / "empty.wav", "the WAV file holds no samples"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            read_telephone_wav(path)
