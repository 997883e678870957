"""Whether `Workload`, which keeps its token buckets as plain numbers, admits what token buckets would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voicelink.net.token_bucket import TokenBucket
from voicelink.quic.limits.workload import (
    DATAGRAM_UNITS,
    EXTRA_BURST_S,
    EXTRA_UNITS_PER_S,
    FREE_UNITS,
    SHARED_BURST_S,
    SHARED_DATAGRAM_UNITS,
    SharedLoad,
    Workload,
)

PACKETS_PER_S, BUSY_PACKETS_PER_S, SHARED_UNITS_PER_S = 64, 16, 65_536
TICKS_PER_S = 1024
"""Times are multiples of a power of two, so that both ways compute without rounding."""


class TokenBuckets:
    """The rules of `Workload`, one `TokenBucket` each."""

    def __init__(self, shared: TokenBucket) -> None:
        self._shared = shared
        self._extra = TokenBucket(EXTRA_UNITS_PER_S, EXTRA_BURST_S * EXTRA_UNITS_PER_S, 0.0)
        self._packets = TokenBucket(PACKETS_PER_S, PACKETS_PER_S)
        self._busy_packets = TokenBucket(BUSY_PACKETS_PER_S, BUSY_PACKETS_PER_S)

    def admits_packet(self, units: int, now: float) -> bool:
        self._extra.charge(max(0, units + DATAGRAM_UNITS - FREE_UNITS))
        if self._extra.level(now) < 0 or not self._packets.take(1, now):
            return False
        cost = units + SHARED_DATAGRAM_UNITS
        is_busy = self._shared.level(now) < cost
        self._shared.charge(min(cost, self._shared.level(now) + SHARED_BURST_S * SHARED_UNITS_PER_S))
        return self._busy_packets.take(1, now) or not is_busy


_STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from((0, 100, 151, 2_000, 30_000)), st.sampled_from((0, 0, 1, 7, 300))),
    max_size=400,
)
"""Which of two connections gets a datagram, the units of work that it makes, and the ticks until the next one."""


@given(_STEPS)
def test_a_workload_admits_what_token_buckets_would(steps: list[tuple[int, int, int]]) -> None:
    load = SharedLoad(SHARED_UNITS_PER_S)
    bucket = TokenBucket(SHARED_UNITS_PER_S, SHARED_BURST_S * SHARED_UNITS_PER_S)
    works = [Workload(PACKETS_PER_S, 500, load, BUSY_PACKETS_PER_S) for _ in range(2)]
    models = [TokenBuckets(bucket) for _ in range(2)]
    done, ticks = [0, 0], 0
    for which, units, pause in steps:
        now = ticks / TICKS_PER_S
        admitted = works[which].admits_packet(now)
        assert admitted == models[which].admits_packet(done[which], now)
        done[which] = units if admitted else 0
        works[which].units += done[which]
        ticks += pause
