"""The slope of memory over time, and its error."""

from __future__ import annotations

import os

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.soak.memory import fit, resident_mb


def test_slope_of_growing_memory_lies_within_its_error() -> None:
    minutes = np.arange(0, 20, 1 / 6)
    noise = np.random.default_rng(1).normal(0, 0.05, len(minutes))
    slope = fit(list(minutes), list(100 + 0.3 * minutes + noise))
    assert slope.samples == len(minutes)
    assert abs(slope.kb_per_min - 300) <= slope.error_kb_per_min < 10
    assert slope.is_above(50)


def test_slope_of_flat_memory_is_not_above_a_bound() -> None:
    minutes = np.arange(0, 20, 1 / 6)
    noise = np.random.default_rng(2).normal(0, 0.05, len(minutes))
    slope = fit(list(minutes), list(100 + noise))
    assert abs(slope.kb_per_min) <= slope.error_kb_per_min
    assert not slope.is_above(0)


def test_neighbours_that_move_together_widen_the_error() -> None:
    minutes = list(np.arange(0, 20, 1 / 6))
    steps = np.random.default_rng(3).normal(0, 0.05, len(minutes))
    walk = np.cumsum(steps) * 0.3
    assert (
        fit(minutes, list(100 + walk)).error_kb_per_min > 2 * fit(minutes, list(100 + _shuffled(walk))).error_kb_per_min
    )


def test_constant_memory_has_slope_and_error_zero() -> None:
    slope = fit([0.0, 1.0, 2.0, 3.0], [80.0] * 4)
    assert (slope.kb_per_min, slope.error_kb_per_min) == (0.0, 0.0)


def test_slope_of_fewer_than_four_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="there are 3"):
        fit([0.0, 1.0, 2.0], [1.0, 2.0, 3.0])


def test_memory_of_this_process_is_read() -> None:
    assert 10 < resident_mb(os.getpid()) < 10_000


def _shuffled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.random.default_rng(4).permutation(values)
