"""The rate of a link and its queue."""

from __future__ import annotations

import random

import pytest

from testbed.simnet.links import IP_UDP_BYTES, Direction, Profile

SIZE = 1_000 - IP_UDP_BYTES


def carry(profile: Profile, count: int, every_s: float) -> list[list[float] | str]:
    direction, rng = Direction(profile), random.Random(1)
    return [direction.carry(index * every_s, SIZE, rng) for index in range(count)]


def test_queue_delays_what_comes_faster_than_the_rate() -> None:
    fates = carry(Profile(delay_s=0.01, rate_bytes_s=100_000), 3, every_s=0.0)
    assert fates == [[pytest.approx(0.02)], [pytest.approx(0.03)], [pytest.approx(0.04)]]


def test_full_queue_drops() -> None:
    fates = carry(Profile(rate_bytes_s=100_000, queue_bytes=2_500), 4, every_s=0.0)
    assert [isinstance(fate, str) for fate in fates] == [False, False, True, True]
    assert fates[2] == "queue full"


def test_queue_drains_at_the_rate() -> None:
    fates = carry(Profile(delay_s=0.01, rate_bytes_s=100_000), 3, every_s=0.01)
    assert fates == [[pytest.approx(0.02)], [pytest.approx(0.03)], [pytest.approx(0.04)]]


def test_link_without_a_rate_has_no_queue() -> None:
    assert carry(Profile(delay_s=0.01), 100, every_s=0.0) == [[0.01]] * 100
