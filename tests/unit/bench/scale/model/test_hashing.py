"""What the model says of the load balancer's table, beside the table read slot by slot."""

from __future__ import annotations

import numpy as np

from bench.scale.model.hashing import disruption, evenness, names_of, route_live_calls, table
from quiclb.routing.fallback import Maglev, flow_hash
from quiclb.routing.pool import Backend

VIP = ("192.0.2.1", 443)


def test_the_table_names_the_worker_that_the_load_balancer_picks() -> None:
    names = names_of(7)
    maglev = Maglev([Backend(name, ("10.0.0.1", at + 1)) for at, name in enumerate(names)])
    slots = table(names)
    for port in range(2000, 2200):
        backend = maglev.lookup(("203.0.113.7", port), VIP)
        assert backend is not None
        assert names[slots[flow_hash(("203.0.113.7", port), VIP) % len(slots)]] == backend.name


def test_disruption_is_the_share_of_slots_that_another_backend_has() -> None:
    before, after = names_of(20), names_of(20)[1:]
    old = [before[slot] for slot in table(before)]
    new = [after[slot] for slot in table(after)]
    found = disruption(before, after, "one leaves")
    assert found.slots_moved == np.mean([a != b for a, b in zip(old, new, strict=True)])
    assert found.unavoidable == np.mean([a == before[0] for a in old])
    assert 0 < found.beside < found.unavoidable


def test_a_pool_that_stays_moves_nothing() -> None:
    assert disruption(names_of(50), names_of(50), "nothing").slots_moved == 0


def test_shares_are_even_to_one_per_cent_up_to_600_workers_and_not_at_5000() -> None:
    few, many = evenness(600), evenness(5000)
    assert 0.99 < few.least <= few.most < 1.01
    assert many.most > 1.05


def test_live_calls_stay_where_they_are_when_the_pool_changes() -> None:
    left, joined = route_live_calls(20, 18, 200, 1), route_live_calls(20, 25, 200, 1)
    assert left.moved == joined.moved == 0
    assert 0 < left.of_lost < 60
    assert joined.own == 200
