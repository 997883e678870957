from __future__ import annotations

from itertools import pairwise

import pytest

from bench.words.paths import in_plain_datagrams, telephone_frames
from bench.words.score import distance


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
    frames = telephone_frames(bytes(2 * 16_000 * 400))
    heard = [audio.sequence for audio in in_plain_datagrams(frames, 0.05, seed=1)]
    assert 0.03 < 1 - len(heard) / len(frames) < 0.07
    assert sum(later - earlier > 5 for earlier, later in pairwise(heard)) > 100
    assert len(list(in_plain_datagrams(frames, 0.0, seed=1))) == len(frames)
