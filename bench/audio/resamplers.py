"""Converters of PCM16 from one rate to another, frame by frame, each as people use it in a voice path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import gcd
from typing import Any, Final

import numpy as np
import soxr
from numpy.typing import NDArray

from voicelink.audio.resample import Resampler

Convert = Callable[[bytes], bytes]
"""Takes the stream's next 20 ms, returns what is due."""


def ours(source_hz: int, target_hz: int) -> Convert:
    """The gateway's own: a polyphase filter as one matrix product a frame."""
    return Resampler(source_hz, target_hz).push


def soxr_stream(source_hz: int, target_hz: int, quality: str) -> Convert:
    """The streaming interface of soxr, the reference in quality."""
    stream = soxr.ResampleStream(source_hz, target_hz, 1, dtype="int16", quality=quality)
    return lambda pcm: bytes(stream.resample_chunk(np.frombuffer(pcm, "<i2")).astype("<i2"))


def scipy_frames(source_hz: int, target_hz: int) -> Convert:
    """`scipy.signal.resample_poly` on each frame alone, as it keeps no state between two."""
    from scipy.signal import resample_poly

    divisor = gcd(source_hz, target_hz)
    up, down = target_hz // divisor, source_hz // divisor

    def convert(pcm: bytes) -> bytes:
        return _pcm(resample_poly(np.frombuffer(pcm, "<i2").astype(np.float32), up, down))

    return convert


def linear(source_hz: int, target_hz: int) -> Convert:
    """Interpolation along a straight line between two samples."""
    last = np.zeros(1, np.float32)
    step = source_hz / target_hz

    def convert(pcm: bytes) -> bytes:
        nonlocal last
        samples = np.concatenate((last, np.frombuffer(pcm, "<i2").astype(np.float32)))
        last = samples[-1:]
        count = (len(samples) - 1) * target_hz // source_hz
        return _pcm(np.interp(np.arange(count) * step, np.arange(len(samples)), samples))

    return convert


RESAMPLERS: Final[Mapping[str, Callable[[int, int], Convert]]] = {
    "gateway": ours,
    "soxr HQ": partial(soxr_stream, quality="HQ"),
    "soxr QQ": partial(soxr_stream, quality="QQ"),
    "scipy, each frame": scipy_frames,
    "linear": linear,
}


def _pcm(samples: NDArray[Any]) -> bytes:
    return bytes(np.clip(np.rint(samples), -32_768, 32_767).astype("<i2"))
