from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.net.token_buckets import Buckets, Rate


def test_a_full_bucket_gives_its_burst_and_then_its_rate():
    buckets = Buckets(Rate(2.0, 4.0))
    assert [buckets.take("a", 1, 10.0) for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert buckets.take("a", 1, 10.25) == 0.25
    assert buckets.take("a", 1, 10.5) == 0
    assert buckets.take("a", 1, 10.5) == 0.5


def test_it_holds_no_more_than_its_burst():
    buckets = Buckets(Rate(2.0, 4.0))
    assert buckets.take("a", 4, 0.0) == 0
    assert [buckets.take("a", 1, 1000.0) for _ in range(5)][-1] == 0.5


def test_keys_have_their_own():
    buckets = Buckets(Rate(1.0, 1.0))
    assert buckets.take("a", 1, 0.0) == buckets.take("b", 1, 0.0) == 0
    assert buckets.take("a", 1, 0.0) == 1


def test_more_than_it_can_hold_is_owed():
    buckets = Buckets(Rate(1.0, 4.0))
    assert buckets.take("a", 10, 0.0) == 0
    assert buckets.take("a", 1, 0.0) == 7


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 5)), max_size=60))
def test_never_more_than_burst_and_rate_allow(steps):
    buckets = Buckets(Rate(1.5, 6.0))
    now = taken = 0.0
    for pause, amount in steps:
        now += pause
        if not buckets.take("a", amount, now):
            taken += amount
        assert taken <= 6.0 + 1.5 * now + 1e-6


def test_it_forgets_who_was_away_longest():
    buckets = Buckets(Rate(1.0, 1.0), most_keys=2)
    for key in "ab":
        buckets.take(key, 1, 0.0)
    buckets.take("a", 1, 0.0)
    buckets.take("c", 1, 0.0)
    assert len(buckets) == 2
    assert buckets.take("a", 1, 0.0) == 1
    assert buckets.take("b", 1, 0.0) == 0


def test_any_number_of_addresses_costs_the_same_memory():
    buckets = Buckets(Rate(1.0, 10.0), most_keys=1000)
    for number in range(2000):
        buckets.take(number.to_bytes(8, "big"), 1, float(number))
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(2000, 30_000):
        buckets.take(number.to_bytes(8, "big"), 1, float(number))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(buckets) == 1000
    assert after - before < 400_000
