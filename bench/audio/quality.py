"""Delay, distortion and rejection of a rate converter."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from bench.audio.resamplers import Convert
from voicelink.audio.frames import FRAME_MS

Make = Callable[[int, int], Convert]
TONES_HZ: Final = (997, 2_999, 3_391)
"""Prime, so that what rounding them makes is noise (AES17)."""
_AMPLITUDE: Final = 32_767 * 10 ** (-1 / 20)
_SECONDS: Final = 1.0
_SETTLED: Final = 0.4


def run(convert: Convert, source_hz: int, samples: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[int]]:
    """Convert frame by frame; return the output, and how many samples of it there were after each frame."""
    pcm = bytes(np.rint(samples).astype("<i2"))
    byte_count = source_hz * FRAME_MS // 1000 * 2
    made: list[NDArray[np.float64]] = []
    counts: list[int] = []
    for at in range(0, len(pcm) - byte_count + 1, byte_count):
        made.append(np.frombuffer(convert(pcm[at : at + byte_count]), "<i2").astype(float))
        counts.append(len(made[-1]) + (counts[-1] if counts else 0))
    return np.concatenate(made), counts


def delay_ms(make: Make, source_hz: int, target_hz: int) -> float:
    """The playout delay that keeps the output from running dry, plus the delay of the sound in the output."""
    shift, counts = _shift(make, source_hz, target_hz)
    per_frame = target_hz * FRAME_MS // 1000
    held = max(per_frame * (frame + 1) - count for frame, count in enumerate(counts))
    return (held + shift) * 1000 / target_hz


def _shift(make: Make, source_hz: int, target_hz: int) -> tuple[int, list[int]]:
    """By how many samples the sound is late in the output, by correlation, and how many there were after each frame."""
    noise = np.random.default_rng(7).normal(0, 4_000, source_hz)
    low = min(source_hz, target_hz) * 0.35
    spectrum = np.fft.rfft(noise)
    spectrum[np.fft.rfftfreq(len(noise), 1 / source_hz) > low] = 0
    noise = np.fft.irfft(spectrum, len(noise))
    made, counts = run(make(source_hz, target_hz), source_hz, noise)
    ideal = soxr.resample(noise, source_hz, target_hz, quality="VHQ")
    length = min(len(made), len(ideal))
    size = 2 * length
    correlation = np.fft.irfft(np.fft.rfft(made[:length], size) * np.conj(np.fft.rfft(ideal[:length], size)), size)
    shift = int(np.argmax(correlation))
    return shift if shift < length else shift - size, counts


def sinad_db(make: Make, source_hz: int, target_hz: int, tone_hz: float) -> float:
    """Signal over noise and distortion of a tone of -1 dBFS; rounding the output to PCM16 allows 97 dB.

    The noise that rounding the input made is no fault of the converter, and is taken out.
    """
    exact = tone(tone_hz, source_hz)
    made, _ = run(make(source_hz, target_hz), source_hz, exact)
    rounding = soxr.resample(np.rint(exact) - exact, source_hz, target_hz, quality="VHQ")
    rounding = np.roll(rounding, _shift(make, source_hz, target_hz)[0])
    first, last = (int(len(made) * share) for share in (_SETTLED, 0.95))
    settled = made[first:last]
    residue = settled - _fitted(settled, target_hz, tone_hz, rounding[first:last])
    return float(10 * np.log10((np.mean(settled**2) - np.mean(residue**2)) / np.mean(residue**2)))


def rejection_db(make: Make, source_hz: int, target_hz: int) -> float:
    """How far unwanted tones stay below the tone that causes them; the worst of several."""
    worst = np.inf
    for tone_hz in _disturbing(source_hz, target_hz):
        made, _ = run(make(source_hz, target_hz), source_hz, tone(tone_hz, source_hz))
        settled = made[int(len(made) * _SETTLED) :]
        window = np.blackman(len(settled))
        spectrum = np.abs(np.fft.rfft(settled * window)) / window.sum() * 2
        frequencies = np.fft.rfftfreq(len(settled), 1 / target_hz)
        spectrum[(np.abs(frequencies - tone_hz) < 40) | (frequencies < 40)] = 0
        worst = min(worst, 20 * np.log10(_AMPLITUDE / max(float(spectrum.max()), 1e-3)))
    return float(worst)


def microseconds(convert: Convert, source_hz: int, count: int) -> list[float]:
    """How long each of `count` frames of noise takes."""
    samples = np.random.default_rng(3).normal(0, 3_000, source_hz * FRAME_MS // 1000)
    pcm = bytes(np.rint(samples).astype("<i2"))
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        convert(pcm)
        taken.append((time.perf_counter() - began) * 1e6)
    return taken


def tone(tone_hz: float, rate_hz: int) -> NDArray[np.float64]:
    """One second of a sine at -1 dBFS."""
    return np.asarray(_AMPLITUDE * np.sin(2 * np.pi * tone_hz * np.arange(round(rate_hz * _SECONDS)) / rate_hz))


def _disturbing(source_hz: int, target_hz: int) -> list[float]:
    """Down: tones that the target cannot hold. Up: tones whose images it can."""
    if source_hz > target_hz:
        return [target_hz / 2 + 100, target_hz * 0.6, target_hz * 0.9]
    return [source_hz * share for share in (0.1, 0.3, 0.425)]


def _fitted(
    samples: NDArray[np.float64], rate_hz: int, tone_hz: float, rounding: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What of the samples is the tone, a constant, and the noise that was in it before."""
    phase = 2 * np.pi * tone_hz * np.arange(len(samples)) / rate_hz
    basis = np.stack((np.sin(phase), np.cos(phase), np.ones_like(phase), rounding), axis=1)
    solution, *_ = np.linalg.lstsq(basis, samples, rcond=None)
    return np.asarray(basis @ solution)
