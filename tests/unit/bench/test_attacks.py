"""The arithmetic of `make bench-attacks`: how late the loop was, and which bounds an attack broke."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.attacks.__main__ import Finding, missed, overdue
from bench.attacks.kinds import quic
from bench.attacks.play import ATTACKS, OF_HONEST_CLIENTS, OVER_WEBTRANSPORT
from bench.attacks.target import Target

WITHIN = Finding(
    "an attack",
    late_ms=(0.0,) * 98 + (50.0, 400.0),
    own_ms=(1.0,) * 100,
    before_mb=100.0,
    peak_mb=180.0,
    after_mb=120.0,
    tried={"newcomers": 5, "probes": 5},
    done={"newcomers": 5, "probes": 5},
)


@pytest.mark.parametrize(
    ("late_ms", "samples"),
    [(0.0, [0.0]), (3.5, [3.5]), (5.0, [5.0]), (12.0, [12.0, 7.0, 2.0]), (15.5, [15.5, 10.5, 5.5, 0.5])],
)
def test_a_stall_counts_for_each_sample_that_falls_into_it(late_ms: float, samples: list[float]) -> None:
    """One sample every 5 ms, each later by what is left of the stall: a stall's weight is its length."""
    assert overdue(late_ms) == pytest.approx(samples)


def test_an_attack_within_its_bounds_has_no_fault() -> None:
    """50 ms at p99 and 20 MB beyond the start are within; what is longest or highest in between is not bounded."""
    assert WITHIN.faults(start_mb=100.0) == []


def test_a_loop_later_than_50_ms_at_p99_is_a_fault() -> None:
    (fault,) = replace(WITHIN, late_ms=(0.0,) * 98 + (50.1, 50.1)).faults(100.0)
    assert fault == "an attack: the loop was 50.1 ms late at p99, the bound is 50 (its own is 1.0)"


def test_memory_is_bounded_from_the_start_of_the_worker_and_not_of_the_attack() -> None:
    assert replace(WITHIN, before_mb=120.0, after_mb=120.0).faults(99.9) == [
        "an attack: memory grew by 20.1 MB, the bound is 20"
    ]


def test_an_honest_client_that_fails_is_a_fault() -> None:
    assert replace(WITHIN, done={"newcomers": 3, "probes": 5}).faults(100.0) == ["an attack: 2 of 5 newcomers failed"]


def test_an_attack_that_does_not_get_to_what_it_is_for_is_a_fault() -> None:
    (fault,) = replace(WITHIN, missed=("x_total",)).faults(100.0)
    assert fault == "an attack: it did not get to what it is for, x_total did not grow"


def test_a_counter_must_grow_by_more_than_honest_clients_make_it() -> None:
    before, after = {OVER_WEBTRANSPORT: 100.0, "x_total": 1.0}, {OVER_WEBTRANSPORT: 110.0, "x_total": 2.0}
    assert missed((OVER_WEBTRANSPORT, "x_total", "absent"), before, after, 10) == (OVER_WEBTRANSPORT, "absent")
    assert missed((OVER_WEBTRANSPORT,), before, after, 9) == ()


def test_every_attack_says_what_it_does_and_what_it_reaches() -> None:
    for attack in ATTACKS.values():
        assert attack.run.__doc__
        assert attack.reaches


def test_an_attack_over_one_connection_at_a_time_is_not_looked_for_among_honest_clients() -> None:
    """It may hold its only connection to the end: one more than theirs is within what is not known of theirs."""
    by_packets = [attack for attack in ATTACKS.values() if attack.run.__module__ == quic.__name__]
    assert by_packets
    assert all(OF_HONEST_CLIENTS.isdisjoint(attack.reaches) for attack in by_packets)


def test_a_target_survives_the_command_line() -> None:
    target = Target(("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 3), ("127.0.0.1", 4), "ca.pem")
    assert Target.of_json(target.as_json()) == target
