"""What the microphone hears: recordings with silence around them."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path

RATE_HZ = 16_000
ROOT = Path(__file__).parents[2]
CALLER = ROOT / "deploy" / "local" / "caller.wav"


@dataclass(frozen=True, slots=True)
class Part:
    """A recording from `start_s` to `end_s`."""

    recording: Path
    start_s: float = 0.0
    end_s: float | None = None


def speech(out: Path, *parts: Part | float) -> Path:
    """Write parts of recordings and silences (in seconds), one after another, as a WAV file."""
    with wave.open(str(out), "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(RATE_HZ)
        for part in parts:
            written.writeframes(samples_of(part) if isinstance(part, Part) else bytes(2 * round(part * RATE_HZ)))
    return out


def samples_of(part: Part) -> bytes:
    with wave.open(str(part.recording)) as recording:
        assert (recording.getframerate(), recording.getnchannels()) == (RATE_HZ, 1)
        first = round(part.start_s * RATE_HZ)
        last = recording.getnframes() if part.end_s is None else round(part.end_s * RATE_HZ)
        recording.setpos(first)
        return recording.readframes(last - first)
