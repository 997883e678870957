"""The recordings in tests/audio and the demonstration's caller."""

from __future__ import annotations

import wave
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def recording(name: str) -> bytes:
    """Return a recording's PCM16 at 16 kHz; `caller` is the demonstration's."""
    path = ROOT / "deploy/local/caller.wav" if name == "caller" else ROOT / f"tests/audio/{name}.wav"
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return file.readframes(file.getnframes())
