"""What the microphone hears: recordings with silence around them."""

from __future__ import annotations

import wave
from pathlib import Path

RATE_HZ = 16_000
ROOT = Path(__file__).parents[2]
CALLER = ROOT / "deploy" / "local" / "caller.wav"
AUDIO = ROOT / "tests" / "audio"


def speech(out: Path, *parts: Path | float) -> Path:
    """Write recordings and silences (in seconds), one after another, as a WAV file."""
    with wave.open(str(out), "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(RATE_HZ)
        for part in parts:
            if isinstance(part, Path):
                with wave.open(str(part)) as recording:
                    assert (recording.getframerate(), recording.getnchannels()) == (RATE_HZ, 1)
                    written.writeframes(recording.readframes(recording.getnframes()))
            else:
                written.writeframes(bytes(2 * round(part * RATE_HZ)))
    return out
