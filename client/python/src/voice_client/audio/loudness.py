"""What counts as sound."""

from __future__ import annotations

import numpy as np

_AUDIBLE_AMPLITUDE = 32768 * 10 ** (-45 / 20)


def is_voiced(pcm: bytes | bytearray) -> bool:
    """Whether PCM16 is louder than -45 dBFS."""
    if len(pcm) < 2:
        return False
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float32)
    return bool(np.sqrt(np.mean(samples * samples)) > _AUDIBLE_AMPLITUDE)
