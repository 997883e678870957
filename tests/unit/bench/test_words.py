from __future__ import annotations

import numpy as np
import pytest

from bench.words import _lossy, distance


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("a large latte", "a large latte", 0),
        ("a large latte", "a latte", 1),
        ("a large latte", "a small latte please", 2),
        ("a large latte", "", 3),
        ("", "a", 1),
    ],
)
def test_words_are_counted_as_left_out_put_in_or_replaced(said: str, heard: str, errors: int) -> None:
    assert distance(said.split(), heard.split()) == errors


def test_about_as_much_is_lost_as_asked_for_in_bursts() -> None:
    frames = [b"x"] * 50_000
    lossy = _lossy(frames, 0.05, np.random.default_rng(1))
    assert 0.04 < lossy.count(b"\x00") / len(frames) < 0.06
    assert _lossy(frames, 0.0, np.random.default_rng(1)) == frames
