from __future__ import annotations

import pytest

from voice_gateway.session.stats.uplink_statistics import LARGEST_GAPS, UplinkStatistics
from voicelink.wire import CLOCK_HZ

TICKS = CLOCK_HZ // 50


def feed(arrivals, timestamps=None):
    statistics = UplinkStatistics()
    for sequence, at in enumerate(arrivals):
        timestamp = sequence * TICKS if timestamps is None else timestamps[sequence]
        statistics.arrived(sequence, timestamp, 60, at)
    return statistics.summary()


def test_nothing_is_known_before_the_first_frame():
    summary = UplinkStatistics().summary()
    assert (summary.frames, summary.largest_gaps) == (0, ())
    assert summary.lateness_p50_ms is None
    assert summary.lateness_p99_ms is None


def test_frames_and_bytes_are_counted():
    summary = feed([0.0, 0.02, 0.04])
    assert (summary.frames, summary.byte_count) == (3, 180)


def test_a_stall_is_the_largest_gap_under_the_sequence_that_ended_it():
    summary = feed([0.02 * i + (0.3 if i >= 50 else 0.0) for i in range(100)])
    assert summary.largest_gaps[0] == (50, pytest.approx(320.0))
    assert summary.largest_gaps[1][1] == pytest.approx(20.0)


def test_silence_that_the_caller_left_out_is_no_gap():
    timestamps = [0, TICKS, 6 * TICKS, 7 * TICKS]
    gaps = feed([0.0, 0.02, 0.12, 0.19], timestamps).largest_gaps
    assert dict(gaps) == pytest.approx({3: 70.0, 2: 20.0, 1: 20.0})


def test_the_sixteen_largest_gaps_are_kept_largest_first():
    arrivals = [0.0]
    for i in range(1, 40):
        arrivals.append(arrivals[-1] + i / 1000)
    gaps = feed(arrivals).largest_gaps
    assert gaps == tuple((i, pytest.approx(float(i))) for i in range(39, 39 - LARGEST_GAPS, -1))


def test_a_pause_in_the_timestamps_is_no_gap():
    timestamps = [0, TICKS, 6 * TICKS, 7 * TICKS]
    assert feed([0.0, 0.02, 0.12, 0.14], timestamps).largest_gaps[0][1] == pytest.approx(20.0)
    assert feed([0.0, 0.02, 0.42, 0.43], timestamps).largest_gaps[0] == (2, pytest.approx(320.0))


def test_lateness_is_measured_from_the_fastest_frame_even_if_it_came_last():
    summary = feed([10.0 + 0.02 * i + late for i, late in enumerate([0.030, 0.030, 0.130, 0.000])])
    assert summary.lateness_p50_ms == 30
    assert summary.lateness_p99_ms == 130


def test_a_pause_in_the_timestamps_is_not_lateness():
    summary = feed([0.0, 0.02, 1.02], [0, TICKS, 51 * TICKS])
    assert summary.lateness_p99_ms == 0


def test_invented_timestamps_cost_a_bounded_amount_of_memory():
    statistics = UplinkStatistics()
    for sequence in range(30_000):
        statistics.arrived(sequence, (sequence * 7919 % 30_011) * 48, 1, 0.02 * sequence)
    assert len(statistics._transits) <= 10_001
    lateness_ms = statistics.summary().lateness_p99_ms
    assert lateness_ms is not None
    assert lateness_ms <= 10_000
