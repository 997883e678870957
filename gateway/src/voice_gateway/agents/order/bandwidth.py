"""Telephone speech for a recogniser that was trained on wideband.

Speech that came through 8 kHz has nothing above 4 kHz, where the acoustic model expects fricatives to be; the model
then hears other words. The lower band's mirror image, faint, stands in for what the telephone took away.
"""

from __future__ import annotations

from typing import Final

import numpy as np

_NARROW_RATIO: Final = 1e-6
"""Wideband speech has more than -45 dB of its energy above 4.3 kHz; what a telephone leaves there is rounding."""
_EDGE: Final = 4_300 / 8_000
_IMAGE_GAIN: Final = 0.2


class BandwidthExtension:
    """Decides from the beginning of a turn whether it is narrowband, and then extends the turn; PCM16 at 16 kHz."""

    def __init__(self, beginning: bytes) -> None:
        samples = np.frombuffer(beginning, "<i2").astype(np.float32)
        power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
        self.is_narrowband = bool(power[round(len(power) * _EDGE) :].sum() < _NARROW_RATIO * power.sum())
        self._sign = 1.0

    def extend(self, pcm: bytes) -> bytes:
        """Return the next samples, with an upper band where they have none."""
        if not self.is_narrowband:
            return pcm
        samples = np.frombuffer(pcm, "<i2").astype(np.float32)
        # Alternating the sign turns the spectrum over: 1 kHz becomes 7 kHz.
        signs = np.full(len(samples), self._sign, np.float32)
        signs[1::2] = -self._sign
        self._sign *= -1 if len(samples) % 2 else 1
        return bytes(np.clip(np.rint(samples * (1 + _IMAGE_GAIN * signs)), -32_768, 32_767).astype("<i2"))
