"""The law of a worker's core, beside the points it is fitted to, a third one, and a loop simulated turn by turn."""

from __future__ import annotations

import numpy as np
import pytest

from bench.scale.inputs import load_figures
from bench.scale.model.worker import BEGUN_A_TURN, WorkerModel, simulated_use

FIGURES = load_figures()
WORKER = WorkerModel.fitted(FIGURES)


def test_the_law_passes_through_what_it_is_fitted_to() -> None:
    assert WORKER.cost_ms(16) == pytest.approx(FIGURES["session_cpu_ms_at_16"])
    assert float(WORKER.use(FIGURES["sessions_carried"])) == pytest.approx(1.0)


def test_the_forecast_between_them_is_within_what_was_measured() -> None:
    assert 5.4 <= WORKER.cost_ms(150) <= 5.9


def test_use_grows_with_sessions_and_the_cost_of_one_falls() -> None:
    sessions = np.arange(1, 400)
    use = WORKER.use(sessions)
    assert (np.diff(use) > 0).all()
    assert (np.diff(use / sessions) <= 1e-12).all()


@pytest.mark.parametrize("load", [0.1, 0.4, 0.7])
def test_a_loop_that_takes_all_that_waits_shares_its_overhead_as_the_law_says(load: float) -> None:
    turn_s, datagram_s, seconds = 65e-6, 150e-6, 40.0
    rng = np.random.default_rng(1)
    count = round(load * seconds / datagram_s)
    use = simulated_use(np.sort(rng.uniform(0, seconds, count)), turn_s, datagram_s, seconds)
    law = WorkerModel(datagram_s, turn_s, 1.0).use(count / seconds)
    assert float(law) == pytest.approx(use, rel=0.12)


def test_an_agent_in_the_worker_leaves_room_for_fewer_sessions() -> None:
    assert WorkerModel.fitted(FIGURES, extra_ms=5.0).full == pytest.approx(1 / (WORKER.work + 0.005))


def test_handshakes_take_what_sessions_leave_and_no_less_than_their_least_share() -> None:
    rates = WORKER.handshakes_per_s(np.array([0.0, 100.0, 1000.0]), 0.05)
    assert rates[0] == pytest.approx(FIGURES["handshakes_per_cpu_s"])
    assert rates[1] == pytest.approx((1 - float(WORKER.use(100))) * FIGURES["handshakes_per_cpu_s"])
    assert rates[2] == pytest.approx(0.05 * FIGURES["handshakes_per_cpu_s"])


def test_a_turn_in_a_storm_is_longer_the_more_media_there_is() -> None:
    assert WORKER.storm_turn_s(0) == pytest.approx(BEGUN_A_TURN * WORKER.handshake_s)
    assert WORKER.storm_turn_s(100) > 2 * WORKER.storm_turn_s(0)
