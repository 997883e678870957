"""Streaming sample-rate conversion between 8, 16, 24 and 48 kHz."""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

RATES_HZ: Final = (8_000, 16_000, 24_000, 48_000)

_HALF_LENGTH: Final = 36
"""Half the filter, in samples of the lower rate: 4.5 ms at 8 kHz, and the stop band begins at its Nyquist frequency."""
_BETA: Final = 9.4
"""Kaiser window: about 95 dB of stop-band attenuation, under PCM16's own noise."""
_TRANSITION: Final = 5.9
"""Full transition width of this window, in units of (rate / filter length)."""


class Resampler:
    """A polyphase FIR with its state; each `push` is one matrix product.

    Every 20 ms in give 20 ms out, late by `delay_ms`; lengths that are no multiple of the ratio's block are held
    back until they are. Equal rates pass through.
    """

    def __init__(self, input_rate_hz: int, output_rate_hz: int) -> None:
        for rate_hz in (input_rate_hz, output_rate_hz):
            if rate_hz not in RATES_HZ:
                raise ValueError(f"resampling runs between {RATES_HZ} Hz, got {rate_hz}")
        self._is_identity = input_rate_hz == output_rate_hz
        self.delay_ms = 0.0 if self._is_identity else _HALF_LENGTH * 1000 / min(input_rate_hz, output_rate_hz)
        divisor = gcd(input_rate_hz, output_rate_hz)
        self._up, self._down = output_rate_hz // divisor, input_rate_hz // divisor
        self._bank = filter_bank(self._up, self._down)
        self._history = np.zeros(len(self._bank) - self._down, np.float32)

    def push(self, pcm: bytes) -> bytes:
        """Take the stream's next samples and return those that are due."""
        if self._is_identity:
            return pcm
        samples = np.concatenate((self._history, np.frombuffer(pcm, "<i2")), dtype=np.float32)
        width, step = len(self._bank), 4 * self._down
        blocks = (len(samples) - width) // self._down + 1
        if blocks <= 0:
            self._history = samples
            return b""
        # the windows overlap: the product wants a copy, and numpy's own views of them take longer to make than that
        windows: NDArray[np.float32] = np.ndarray((blocks, width), np.float32, samples, strides=(step, 4))
        self._history = samples[blocks * self._down :].copy()
        output = windows.copy() @ self._bank
        np.rint(output, out=output)
        np.maximum(output, -32_768.0, out=output)
        np.minimum(output, 32_767.0, out=output)
        return output.astype("<i2").tobytes()


@lru_cache
def filter_bank(up: int, down: int) -> NDArray[np.float32]:
    """Return the matrix that turns a window of input samples into the next `up` output samples.

    Column p is the low-pass filter sampled where output p of the block sees the input samples; a block consumes
    `down` of them.
    """
    half = _HALF_LENGTH * max(up, down)  # at the common rate, `up` times the input's
    cutoff = 0.5 / max(up, down) - _TRANSITION / 2 / (2 * half)
    time = np.arange(-half, half + 1)
    prototype = 2 * cutoff * up * np.sinc(2 * cutoff * time) * np.kaiser(2 * half + 1, _BETA)
    behind = -(-half // up)
    first = -2 * behind
    width = down - first
    bank = np.zeros((width, up))
    for phase in range(up):
        # Output at common-rate time phase*down - behind*up sees input k at time k*up.
        centre = phase * down - behind * up
        offsets = centre - (first + np.arange(width)) * up
        inside = np.abs(offsets) <= half
        bank[inside, phase] = prototype[offsets[inside] + half]
    bank /= bank.sum(axis=0)
    return np.asfortranarray(bank, np.float32)  # what BLAS is quickest with
