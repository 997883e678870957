"""Intervals without acknowledged progress."""

from __future__ import annotations

import pytest

from voice_client.transport.webtransport.progress import ProgressTracker


def test_an_interval_runs_from_the_first_packet_in_flight_to_the_next_progress() -> None:
    meter = ProgressTracker()
    meter.observe(1.0, None, is_waiting=True)
    meter.observe(1.5, None, is_waiting=True)
    meter.observe(1.7, 4, is_waiting=True)
    meter.observe(1.8, 5, is_waiting=False)
    assert meter.worst_ms(9.0) == pytest.approx(700)
    assert meter.progressed_at == 1.8


def test_an_old_acknowledgement_is_no_progress() -> None:
    meter = ProgressTracker()
    meter.observe(0.0, 7, is_waiting=True)
    meter.observe(0.2, 7, is_waiting=True)
    meter.observe(0.3, 6, is_waiting=True)
    assert meter.worst_ms(0.5) == pytest.approx(500)


def test_silence_with_nothing_in_flight_is_no_gap() -> None:
    meter = ProgressTracker()
    meter.observe(0.0, 1, is_waiting=False)
    meter.observe(5.0, 1, is_waiting=True)
    meter.observe(5.1, 2, is_waiting=False)
    assert meter.worst_ms(9.0) == pytest.approx(100)


def test_an_interval_that_runs_at_the_restart_counts_from_its_beginning() -> None:
    meter = ProgressTracker()
    meter.observe(0.0, None, is_waiting=True)
    meter.observe(3.0, 1, is_waiting=True)
    meter.restart()
    meter.observe(3.4, 2, is_waiting=False)
    assert meter.worst_ms(9.0) == pytest.approx(400)
