"""The sound that is called with, and how it differs from silence after a codec has had it."""

from __future__ import annotations

from typing import Final

import numpy as np

FRAME_S: Final = 0.02
_TONE_HZ: Final = 400
"""A whole number of periods is in 10 ms: frames join without a step."""
_AMPLITUDE: Final = 8_000
_AUDIBLE: Final = 500


def tone(rate_hz: int, frame_s: float = FRAME_S) -> bytes:
    """A frame of a tone, PCM16 mono."""
    at_s = np.arange(round(rate_hz * frame_s)) / rate_hz
    return (_AMPLITUDE * np.sin(2 * np.pi * _TONE_HZ * at_s)).astype("<i2").tobytes()


def is_sound(pcm: bytes | bytearray | memoryview) -> bool:
    """Whether there is more in this PCM16 than silence, comfort noise or the onset of a decoder."""
    return bool(np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)).max(initial=0) > _AUDIBLE)
