from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from quiclb.backends.health import (
    JITTER,
    REFUSAL_PATIENCE_S,
    TRANSITIONS,
    Health,
    HealthMonitor,
    HealthPolicy,
    apply_health,
)
from quiclb.routing.pool import BackendState
from tests.unit.quiclb.pools import backend

A, B = ("10.0.0.1", 4433), ("10.0.0.2", 4433)
POLICY = HealthPolicy(interval_s=2.0, timeout_s=0.5, fall=3, rise=2)


class Probed:
    """A monitor with backends that answer at once while they are in `answering`."""

    def __init__(self, *addresses, policy=POLICY, answering=(), seed=1):
        self.monitor = HealthMonitor(policy, Random(seed).random)
        self.monitor.watch(addresses, 0.0)
        self.answering = set(answering)
        self.now = 0.0
        self.sent: list[tuple[float, tuple]] = []

    def probe(self, count: int) -> None:
        """Go on until so many more probes were sent; one that is not answered counts as missed when the next one goes
        out."""
        end = len(self.sent) + count
        while len(self.sent) < end:
            self.now = max(self.now, self.monitor.next_deadline() or 0.0)
            for address in self.monitor.poll(self.now):
                self.sent.append((self.now, address))
                if address in self.answering:
                    assert self.monitor.answered(address, self.now)

    def health(self):
        return self.monitor.health(A)


def results(health: Health) -> Probed:
    """A monitor that thinks so of A."""
    probed = Probed(A)
    target = probed.monitor._targets[A]
    target.health = health
    return probed


@pytest.mark.parametrize("is_answered", [True, False])
@pytest.mark.parametrize("health", list(Health))
def test_every_state_leaves_as_the_table_says(health, is_answered):
    probed = results(health)
    target, monitor = probed.monitor._targets[A], probed.monitor
    following = TRANSITIONS.get((health, is_answered))
    for _ in range(POLICY.needed(health, is_answered) - 1):
        monitor._record(target, is_answered, 0.0)
        assert (target.health, monitor.has_changed) == (health, False)
    monitor._record(target, is_answered, 0.0)
    assert target.health is (following or health)
    assert monitor.has_changed == (following is not None)


def test_rise_of_one_believes_the_first_answer():
    probed = Probed(A, policy=HealthPolicy(rise=1))
    probed.probe(5)
    assert probed.health() is Health.DOWN
    probed.answering.add(A)
    probed.probe(1)
    assert probed.health() is Health.UP


def test_a_first_answer_is_enough_for_an_unknown_backend():
    probed = Probed(A, answering=[A])
    assert probed.health() is Health.UNKNOWN
    probed.probe(1)
    assert probed.health() is Health.UP
    assert probed.monitor.has_changed


def test_it_takes_fall_misses_in_a_row_to_go_down_and_rise_answers_to_come_back():
    probed = Probed(A, answering=[A])
    probed.probe(2)
    probed.answering.clear()
    probed.probe(3)
    assert probed.health() is Health.UP
    first_miss = probed.sent[2][0]
    probed.probe(1)
    assert probed.health() is Health.DOWN
    assert probed.now - first_miss < POLICY.fall * POLICY.timeout_s + POLICY.interval_s
    probed.answering.add(A)
    probed.probe(1)
    assert probed.health() is Health.DOUBTFUL
    probed.probe(1)
    assert probed.health() is Health.UP


def test_lost_probes_that_are_not_in_a_row_change_nothing():
    probed = Probed(A, answering=[A])
    probed.probe(1)
    for _ in range(10):
        probed.answering.clear()
        probed.probe(2)
        probed.answering.add(A)
        probed.probe(2)
        assert probed.health() is Health.UP


def test_a_backend_that_flaps_keeps_its_connections_and_gets_no_new_ones():
    probed = Probed(A)
    probed.probe(5)
    assert probed.health() is Health.DOWN
    for _ in range(5):
        probed.answering.add(A)
        probed.probe(1)
        assert probed.health() is Health.DOUBTFUL
        probed.answering.clear()
        probed.probe(POLICY.fall)
        assert probed.health() is Health.DOUBTFUL
    probed.probe(1)
    assert probed.health() is Health.DOWN


def test_doubt_hears_those_that_are_down_again_at_once():
    probed = Probed(A, B)
    monitor = probed.monitor
    probed.probe(20)
    assert (monitor.health(A), monitor.health(B)) == (Health.DOWN, Health.DOWN)
    monitor.has_changed = False
    probed.answering.add(A)
    monitor.doubt(probed.now)
    assert (monitor.health(A), monitor.health(B), monitor.has_changed) == (Health.DOUBTFUL, Health.DOUBTFUL, True)
    began = probed.now
    while monitor.health(B) is Health.DOUBTFUL:
        probed.probe(1)
    assert monitor.health(A) is Health.UP
    assert monitor.health(B) is Health.DOWN
    assert probed.now - began <= (POLICY.fall + 1) * POLICY.timeout_s


def test_one_in_doubt_that_refuses_is_down_at_once():
    probed = Probed(A)
    probed.probe(5)
    monitor, now = probed.monitor, probed.now
    monitor.doubt(now)
    monitor.refused(A, now)
    monitor.poll(now)
    monitor.refused(A, now + REFUSAL_PATIENCE_S)
    assert probed.health() is Health.DOWN


def test_probes_wander_around_the_interval():
    probed = Probed(A, answering=[A])
    probed.probe(200)
    times = [at for at, _ in probed.sent]
    gaps = [after - before for before, after in pairwise(times)]
    low, high = POLICY.interval_s * (1 - JITTER), POLICY.interval_s * (1 + JITTER)
    assert all(low <= gap <= high for gap in gaps)
    assert max(gaps) - min(gaps) > (high - low) / 2


def test_first_probes_spread_over_an_interval():
    addresses = [("10.0.0.1", port) for port in range(1, 101)]
    probed = Probed(*addresses, answering=addresses)
    probed.probe(100)
    times = sorted(at for at, _ in probed.sent[:100])
    assert times[0] < 0.2
    assert 1.8 < times[-1] <= POLICY.interval_s


def test_a_late_or_unasked_answer_counts_for_nothing():
    monitor = HealthMonitor(POLICY, Random(1).random)
    monitor.watch([A], 0.0)
    assert not monitor.answered(A, 0.0)
    assert not monitor.answered(B, 0.0)
    assert monitor.health(A) is Health.UNKNOWN
    assert not monitor.has_changed


def test_a_backend_that_refuses_and_does_not_answer_the_probe_is_down_at_once():
    probed = Probed(A, answering=[A])
    probed.probe(1)
    probed.answering.clear()
    monitor, began = probed.monitor, probed.now + 0.01
    monitor.has_changed = False
    monitor.refused(A, began)
    assert monitor.next_deadline() == began
    assert monitor.poll(began) == [A]
    for _ in range(100):
        monitor.refused(A, began + REFUSAL_PATIENCE_S * 0.9)
    assert (probed.health(), monitor.has_changed) == (Health.UP, False)
    monitor.refused(A, began + REFUSAL_PATIENCE_S * 1.1)
    assert (probed.health(), monitor.has_changed) == (Health.DOWN, True)
    assert monitor.results[A, "missed"] == 1


def test_refusals_beside_a_backend_that_answers_are_forged():
    probed = Probed(A, answering=[A])
    probed.probe(1)
    for step in range(100):
        probed.now += REFUSAL_PATIENCE_S
        probed.monitor.refused(A, probed.now)
        probed.probe(1)
        assert probed.health() is Health.UP, step


def test_a_refusal_of_an_unknown_backend_or_one_that_is_down_changes_nothing():
    probed = Probed(A)
    probed.probe(5)
    deadline = probed.monitor.next_deadline()
    for address in (A, B):
        probed.monitor.refused(address, probed.now)
    assert probed.monitor.next_deadline() == deadline
    assert probed.health() is Health.DOWN


def test_one_that_is_down_is_probed_as_soon_as_the_miss_is_known():
    probed = Probed(A)
    probed.probe(20)
    gaps = [after[0] - before[0] for before, after in pairwise(probed.sent[3:])]
    assert max(gaps) <= POLICY.timeout_s * (1 + JITTER)


def test_what_is_known_is_kept_for_those_that_stay_and_forgotten_for_those_that_go():
    probed = Probed(A, answering=[A])
    probed.probe(1)
    probed.monitor.watch([A, B], probed.now)
    assert probed.health() is Health.UP
    probed.monitor.watch([B], probed.now)
    assert probed.health() is Health.UNKNOWN
    probed.monitor.watch([], probed.now)
    assert probed.monitor.next_deadline() is None


ACTIVE, DRAINING, DOWN = BackendState.ACTIVE, BackendState.DRAINING, BackendState.DOWN


@pytest.mark.parametrize(
    ("configured", "healths", "effective", "is_fail_open"),
    [
        ("aaa", "uud", "aax", False),
        ("aaa", "???", "aaa", False),
        ("ada", "udd", "axx", False),
        ("axa", "uuu", "axa", False),
        ("axa", "dud", "axa", True),
        ("aaa", "ddd", "aaa", True),
        ("ada", "dud", "ada", True),
        ("ddd", "ddu", "xxd", False),
        ("aaa", "ubd", "adx", False),
        ("dxa", "bbu", "dxa", False),
        ("aad", "bdu", "aad", True),
        ("xxx", "uuu", "xxx", False),
        ("", "", "", False),
    ],
)
def test_health_only_takes_away_and_never_everything(configured, healths, effective, is_fail_open):
    states = {"a": ACTIVE, "d": DRAINING, "x": DOWN}
    known = {"u": Health.UP, "d": Health.DOWN, "b": Health.DOUBTFUL, "?": Health.UNKNOWN}
    backends = [backend(number, states[state]) for number, state in enumerate(configured)]
    by_address = {each.address: known[health] for each, health in zip(backends, healths, strict=True)}
    found, is_open = apply_health(backends, by_address.__getitem__)
    assert [each.state for each in found] == [states[state] for state in effective]
    assert is_open is is_fail_open
    assert [each.server_ids for each in found] == [each.server_ids for each in backends]
