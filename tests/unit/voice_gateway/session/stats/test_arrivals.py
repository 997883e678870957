"""What is remembered of the newest frames."""

from __future__ import annotations

import pytest

from voice_gateway.session.stats.arrivals import Arrivals


def arrivals(count: int, late: dict[int, float] | None = None, offset_ms: float = -4_000.0) -> Arrivals:
    """Frames 20 ms apart, some of them `late` by so many ms, from a sender whose clock is `offset_ms` away."""
    seen, before = Arrivals(), 0.0
    for sequence in range(count):
        queueing_ms = (late or {}).get(sequence, 0.0)
        at = sequence * 0.02 + queueing_ms / 1000
        seen.note(sequence, at, at - before, at * 1000 - sequence * 20 + offset_ms)
        before = at
    return seen


@pytest.mark.parametrize("offset_ms", [-1e9, 0.0, 1e9])
def test_a_frame_is_compared_with_the_fastest_whatever_the_callers_clock(offset_ms: float) -> None:
    seen = arrivals(50, {30: 45.0}, offset_ms)
    late = seen.of(30)
    assert late is not None
    assert late.at == pytest.approx(0.645)
    assert late.gap_s == pytest.approx(0.065)
    assert late.queueing_ms == pytest.approx(45.0, abs=1e-3)
    assert seen.of(29).queueing_ms == pytest.approx(0.0, abs=1e-3)


def test_a_frame_that_never_came_or_came_long_ago_is_unknown() -> None:
    seen = arrivals(2_000)
    assert seen.of(2_000) is None
    assert seen.of(0) is None
    assert seen.of(1_600) is not None


def test_a_clock_that_drifts_is_forgiven_after_a_minute() -> None:
    seen = Arrivals()
    for second in range(600):
        seen.note(second, second, 1.0, second * 1.0)  # a thousand ppm: 1 ms each second
    assert seen.of(599).queueing_ms <= 60


def test_the_largest_gap_is_that_of_the_time_asked_for() -> None:
    seen = arrivals(200, {50: 15.0, 150: 12.0})
    assert seen.largest_gap_s(0.0) == pytest.approx(0.035)
    assert seen.largest_gap_s(2.0) == pytest.approx(0.032)
    assert seen.largest_gap_s(99.0) == 0.0


def test_frames_that_are_said_anew_take_the_place_of_all_before() -> None:
    seen = arrivals(600)
    seen.note(300, 50.0, 0.5, 50_000.0 - 300 * 20 - 4_000.0)
    assert seen.of(299) is None
    assert seen.of(301) is None
    again = seen.of(300)
    assert again is not None
    assert again.at == 50.0
    assert again.queueing_ms == pytest.approx(44_000.0)
    assert seen.largest_gap_s(0.0) == 0.5


def test_the_ring_gives_each_of_its_frames_back() -> None:
    seen = arrivals(1_300)
    for sequence in range(1_300 - 512, 1_300):
        found = seen.of(sequence)
        assert found is not None
        assert (found.sequence, found.at) == (sequence, pytest.approx(sequence * 0.02))
    assert seen.of(1_300 - 513) is None
