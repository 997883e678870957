"""How evenly each way of placing sessions fills workers."""

from __future__ import annotations

import numpy as np
import pytest

from bench.scale.model.placement import WAYS, spread


@pytest.mark.parametrize("way", WAYS)
def test_every_session_is_placed(way: str) -> None:
    counts = WAYS[way](5_003, 50, np.random.default_rng(1))
    assert counts.sum() == 5_003
    assert len(counts) == 50


def test_what_knows_more_of_the_loads_is_more_even() -> None:
    table, two, least = (
        spread(way, 10_000, 100, 120, np.random.default_rng(1))
        for way in ("Maglev table", "less loaded of two", "least loaded")
    )
    assert table.deviation == pytest.approx(10.0, rel=0.3), (
        "as random as the addresses of callers: the root of the mean"
    )
    assert table.deviation > 3 * two.deviation > 3 * least.deviation
    assert table.over > 0
    assert least.most == 100
