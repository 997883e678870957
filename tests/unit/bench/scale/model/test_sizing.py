"""What an installation needs and costs: resources in order, and sums that agree with each other."""

from __future__ import annotations

import pytest

from bench.scale.inputs import load_assumptions, load_figures
from bench.scale.model import sizing
from bench.scale.model.store import RecordSize

FIGURES, ASSUMED, RECORD = load_figures(), load_assumptions(), RecordSize(350, 230)
SESSION = sizing.Session.of(FIGURES, ASSUMED, RECORD)


def test_saves_and_handshakes_leave_a_core_room_for_fewer_sessions() -> None:
    assert 0.9 * FIGURES["sessions_carried"] < SESSION.worker.full < FIGURES["sessions_carried"]


def test_the_resource_that_is_used_up_first_is_a_workers_core() -> None:
    limits = sizing.limits(SESSION, FIGURES, ASSUMED)
    per_unit = [each.sessions_per_unit for each in limits]
    assert per_unit == sorted(per_unit)
    assert limits[0].resource == "a worker's CPU"
    assert limits[0].units_planned == sizing.planned_workers(SESSION, FIGURES, ASSUMED)


def test_planned_units_carry_the_planned_sessions() -> None:
    sessions = ASSUMED["installation"]["sessions"]
    for each in sizing.limits(SESSION, FIGURES, ASSUMED):
        if each.resource != "a host's memory":
            assert each.units_planned * each.sessions_per_unit >= sessions, each.resource


@pytest.mark.parametrize("agent_ms", [0.0, 10.0])
def test_an_agent_takes_its_cores_wherever_it_runs(agent_ms: float) -> None:
    place = sizing.agent_place(FIGURES, ASSUMED, RECORD, agent_ms)
    assert place.cores_in_worker == pytest.approx(place.cores_with_hosts, rel=0.05)
    assert place.cores_in_worker >= 1000 * agent_ms / 1000


def test_costs_follow_the_price_of_a_core() -> None:
    dear = ASSUMED | {"price": ASSUMED["price"] | {"core_hour_usd": 2 * ASSUMED["price"]["core_hour_usd"]}}
    for once, twice in zip(sizing.costs(SESSION, FIGURES, ASSUMED), sizing.costs(SESSION, FIGURES, dear), strict=True):
        assert twice.compute_usd == pytest.approx(2 * once.compute_usd)
        assert twice.cores == once.cores
