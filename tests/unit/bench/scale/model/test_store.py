"""How often a session saves, beside the session's own tracker, and how long a save waits, beside a simulated queue."""

from __future__ import annotations

import numpy as np
import pytest

from bench.scale.model import store
from voice_gateway.agent.turn import TurnTiming
from voice_gateway.session.core.record.record_tracker import RecordTracker
from voice_gateway.session.core.session_limits import SessionLimits

REPORT_S = TurnTiming().silence_report_ms / 1000


def saves_of(pause_s: float, turns: int, talk_s: float = 2.0) -> int:
    """Give the tracker the turns of a call, as an agent does, and count what it wants saved."""
    tracker = RecordTracker("session", SessionLimits().silence_interval_s)
    now, sequence, saves = 100.0, 0, 0

    def save() -> int:
        record = tracker.next_save()
        if record is None:
            return 0
        tracker.saves.succeeded(record.revision)
        return 1

    for turn in range(turns):
        now += talk_s
        ends_at, now = now + pause_s, now + TurnTiming().patience_ms / 1000
        sequence += 100
        tracker.understood("a tea please", sequence, {"turn": turn})
        saves += save()
        tracker.transcript.answered(turn + 1, turn + 1, "here you are")
        saves += save()
        while now + REPORT_S <= ends_at:
            now, sequence = now + REPORT_S, sequence + 25
            tracker.silent(sequence, now)
            saves += save()
        now = ends_at
    return saves


@pytest.mark.parametrize("pause_s", [1.0, 1.5, 3.0, 5.4, 8.0, 12.0, 27.0])
def test_saves_are_those_of_the_session_record_tracker(pause_s: float) -> None:
    assert store.saves_a_turn(pause_s) * 5 == saves_of(pause_s, 5)


def test_saves_a_second_count_the_begin_of_a_call() -> None:
    assert store.saves_per_s(6, 2, 180) == pytest.approx(store.saves_a_turn(8) / 10 + 2 / 180)


@pytest.mark.parametrize("use", [0.2, 0.5, 0.8])
def test_the_mean_wait_is_that_of_a_queue_simulated_request_by_request(use: float) -> None:
    arrivals = np.cumsum(np.random.default_rng(1).exponential(1 / use, 200_000))
    assert store.mean_wait_s(use, 1.0) == pytest.approx(float(store.simulated_waits_s(arrivals, 1.0).mean()), rel=0.06)


def test_the_simulated_queue_serves_one_request_after_the_other() -> None:
    waits = store.simulated_waits_s(np.array([0.0, 1.0, 1.5, 10.0]), 2.0)
    assert waits.tolist() == [0.0, 1.0, 2.5, 0.0]


def test_a_store_that_is_used_beyond_its_time_has_no_mean_wait() -> None:
    with pytest.raises(ValueError, match="below 1"):
        store.mean_wait_s(1.0, 1.0)


def test_a_record_grows_with_the_call() -> None:
    size = store.RecordSize(base=300, per_turn=200)
    assert size.mean_bytes(600, 6) == 300 + 200 * 60
