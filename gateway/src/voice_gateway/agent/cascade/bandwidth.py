"""Telephone speech for a recogniser that was trained on wideband.

Speech that came through 8 kHz has nothing above 4 kHz, where an acoustic model expects fricatives, and is recognised as
other words. A faint mirror image of the lower band replaces the missing one.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from voice_gateway.agent.cascade.parts import OnWords, Recogniser, Utterance

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


class WidebandRecogniser:
    """Another recogniser at 16 kHz, whose utterances are extended where they are narrowband."""

    def __init__(self, inner: Recogniser) -> None:
        self._inner = inner
        self.open = inner.open
        self.close = inner.close

    def begin(self, on_words: OnWords) -> Utterance:
        """Start an utterance; what is fed first, some 0.5 s, decides the band."""
        return _WidebandUtterance(self._inner.begin(on_words))


class _WidebandUtterance:
    def __init__(self, inner: Utterance) -> None:
        self._inner = inner
        self._band: BandwidthExtension | None = None
        self.end = inner.end
        self.abandon = inner.abandon

    def feed(self, pcm: bytes) -> None:
        if self._band is None:
            self._band = BandwidthExtension(pcm)
        self._inner.feed(self._band.extend(pcm))
