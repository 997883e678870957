"""The measures of rate conversion, on converters whose faults are known."""

from __future__ import annotations

import numpy as np
import pytest

from bench.audio.batch import BatchResampler
from bench.audio.quality import delay_ms, rejection_db, sinad_db
from bench.audio.resamplers import Convert, linear, ours


@pytest.mark.parametrize(("source_hz", "target_hz"), [(8_000, 16_000), (24_000, 8_000)])
def test_the_gateways_converter_reaches_its_goals(source_hz: int, target_hz: int) -> None:
    assert delay_ms(ours, source_hz, target_hz) <= 5.0
    assert min(sinad_db(ours, source_hz, target_hz, tone_hz) for tone_hz in (997, 2_999, 3_391)) >= 95
    assert rejection_db(ours, source_hz, target_hz) >= 95


def test_a_straight_line_is_found_wanting() -> None:
    assert sinad_db(linear, 8_000, 16_000, 2_999) < 10
    assert rejection_db(linear, 48_000, 16_000) < 1


def test_held_back_frames_are_delay() -> None:
    def two_frames_late(source_hz: int, target_hz: int) -> Convert:
        convert, waiting = ours(source_hz, target_hz), [b"", b""]

        def late(pcm: bytes) -> bytes:
            waiting.append(convert(pcm))
            return waiting.pop(0)

        return late

    assert delay_ms(two_frames_late, 16_000, 8_000) == pytest.approx(delay_ms(ours, 16_000, 8_000) + 40)


@pytest.mark.parametrize(("source_hz", "target_hz"), [(8_000, 48_000), (24_000, 16_000), (48_000, 8_000)])
def test_sessions_in_one_product_sound_as_alone(source_hz: int, target_hz: int) -> None:
    rng = np.random.default_rng(1)
    together = BatchResampler(source_hz, target_hz, 3)
    alone = [ours(source_hz, target_hz) for _ in range(3)]
    for _ in range(4):
        frames = [bytes(rng.normal(0, 3_000, source_hz // 50).astype("<i2")) for _ in alone]
        expected = [np.frombuffer(convert(frame), "<i2") for convert, frame in zip(alone, frames, strict=True)]
        made = [np.frombuffer(pcm, "<i2") for pcm in together.push(frames)]
        # a product of another shape adds up in another order: the last bit may differ
        assert max(np.abs(a.astype(int) - b).max() for a, b in zip(expected, made, strict=True)) <= 1
