"""Where speech comes from, and the recording of what came back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import voice_client as client
from voice_client import errors
from voice_client.audio.loudness import is_voiced
from voice_client.audio.recording import Recording
from voice_client.audio.source import PcmSource, from_sound, open_wav
from voice_client.errors import ServerDrained, SourceError, session_ended, session_refused
from voicelink.audio.wav import Sound, parse_wav
from voicelink.wire import CloseCode


async def test_speech_comes_in_pieces_of_20_ms() -> None:
    pieces = [piece async for piece in PcmSource(bytes(1400)).frames()]
    assert [len(piece) for piece in pieces] == [640, 640, 120]


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(SourceError, match="whole samples"):
        PcmSource(b"abc")


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 22_050, 44_100, 48_000])
def test_any_rate_keeps_the_tone(rate_hz: int) -> None:
    tone = (np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz) / 2).astype(np.float32)
    source = from_sound(Sound(tone, rate_hz))
    assert source.duration_s == pytest.approx(1.0, abs=0.001)
    spectrum = np.abs(np.fft.rfft(np.frombuffer(source.pcm, "<i2")))
    assert int(spectrum.argmax()) == 440


def test_a_folder_is_no_wav_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot read"):
        open_wav(tmp_path)


def test_pauses_are_part_of_a_recording(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "out.wav", 1000)
    recording.play(7.0, b"\x00\x40" * 20)
    recording.play(7.02, b"\x00\x40" * 20)
    recording.play(7.1, b"\x00\x40" * 20)
    recording.close()
    recording.close()
    sound = parse_wav((tmp_path / "out.wav").read_bytes())
    assert list(sound.samples) == [0.5] * 40 + [0.0] * 60 + [0.5] * 20


def test_a_recording_needs_a_place(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot write"):
        Recording(tmp_path / "missing" / "out.wav", 1000)


def test_a_whisper_is_not_yet_a_voice() -> None:
    assert not is_voiced(b"")
    assert not is_voiced(np.full(320, 100, "<i2").tobytes())
    assert is_voiced(np.full(320, 300, "<i2").tobytes())


def test_every_error_is_exported_and_belongs_to_the_tree() -> None:
    tree = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert tree <= set(client.__all__)
    assert all(issubclass(getattr(errors, name), errors.ClientError) for name in tree)
    assert sorted(client.__all__) == list(client.__all__)
    assert all(hasattr(client, name) for name in client.__all__)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_a_refusal_names_the_status(status: int) -> None:
    assert str(status) in str(session_refused(status, "/v1/voice"))


def test_an_end_names_its_reason() -> None:
    assert isinstance(session_ended(CloseCode.DRAINING, ""), ServerDrained)
    assert str(session_ended(CloseCode.IDLE, "no ping")) == "the server ended the call: idle (no ping)"
    assert str(session_ended(99, "")) == "the server ended the call: code 99"
