"""The resampler's frames, delay, pass band and stop band; soxr is the reference."""

from __future__ import annotations

import itertools
from random import Random

import numpy as np
import pytest
import soxr

from tests.unit.voicelink.audio.signals import level, tone
from voicelink.audio.resample import RATES_HZ, Resampler

PAIRS = [pair for pair in itertools.product(RATES_HZ, RATES_HZ) if pair[0] != pair[1]]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_every_frame_in_gives_a_frame_out(source: int, target: int) -> None:
    resampler = Resampler(source, target)
    assert resampler.delay_ms <= 5
    assert [len(resampler.push(bytes(source // 50 * 2))) for _ in range(5)] == [target // 50 * 2] * 5


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_tone_in_the_pass_band_is_only_delayed(source: int, target: int) -> None:
    resampler = Resampler(source, target)
    made = np.frombuffer(resampler.push(tone(1_000, source, 0.4)), "<i2").astype(float)
    time = np.arange(len(made)) / target - resampler.delay_ms / 1_000
    error = (made - 10_000 * np.sin(2 * np.pi * 1_000 * time))[target // 50 :]
    assert level(np.rint(error * 100).astype("<i2").tobytes()) / 100 < 0.7  # PCM16's own rounding is 0.29


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if pair[0] > pair[1]])
def test_what_would_alias_is_removed(source: int, target: int) -> None:
    above_nyquist = Resampler(source, target).push(tone(target / 2 + 60, source, 0.4, 30_000))
    assert level(above_nyquist[target // 25 :]) < 1.5


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_agrees_with_soxr_on_noise_in_the_telephone_band(source: int, target: int) -> None:
    generator = np.random.default_rng(1)
    noise = soxr.resample(generator.normal(0, 3_000, 8_000).astype(np.float32), 6_000, source)
    reference = soxr.resample(noise, source, target)
    resampler = Resampler(source, target)
    made = np.frombuffer(resampler.push(bytes(np.rint(noise).astype("<i2"))), "<i2").astype(float)
    delay = resampler.delay_ms / 1_000 * target
    assert delay == pytest.approx(round(delay))
    made = made[round(delay) :]
    length = min(len(made), len(reference)) - 400
    error = made[400:length] - reference[400:length]
    assert np.sqrt(np.mean(error**2)) < 0.01 * np.sqrt(np.mean(reference**2))


def test_the_cut_into_pushes_does_not_matter() -> None:
    """Up to one step of 16 bits: BLAS adds up in another order for another number of rows, on some processors."""
    rng = Random(3)
    pcm = tone(700, 24_000, 0.3)
    whole, cut = Resampler(24_000, 16_000), Resampler(24_000, 16_000)
    pieces, at = [], 0
    while at < len(pcm):
        length = rng.randrange(0, 400) * 2
        pieces.append(cut.push(pcm[at : at + length]))
        at += length
    made, expected = (np.frombuffer(each, "<i2").astype(int) for each in (b"".join(pieces), whole.push(pcm)))
    assert len(made) == len(expected)
    assert np.abs(made - expected).max() <= 1
    assert np.abs(np.diff(expected)).max() > 100  # a sample lost or twice would show


def test_loud_input_is_clipped_not_wrapped() -> None:
    square = np.where(np.arange(1_600) // 20 % 2, 32_767, -32_768).astype("<i2")
    made = np.frombuffer(Resampler(16_000, 48_000).push(bytes(square)), "<i2").astype(int)
    assert made.max() == 32_767
    assert made.min() == -32_768
    assert np.abs(np.diff(made)).max() < 40_000


def test_equal_rates_pass_through_and_odd_rates_are_refused() -> None:
    assert Resampler(16_000, 16_000).push(b"\1\2") == b"\1\2"
    with pytest.raises(ValueError, match="got 44100"):
        Resampler(44_100, 16_000)
