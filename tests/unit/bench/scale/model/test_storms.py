"""Failures and updates at small sizes, and their queues beside queues kept caller by caller."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from bench.scale.inputs import load_assumptions, load_figures
from bench.scale.model import storms
from bench.scale.model.storms import HandshakeQueues, Installation, Storm
from bench.scale.model.worker import WorkerModel

WORKER = WorkerModel.fitted(load_figures())
ASSUMED = load_assumptions()


def lose_a_site(per_worker: int, *, sites: int = 2, workers: int = 8, seed: int = 1) -> Storm:
    installation = Installation(per_worker * sites * workers, sites, workers)
    return storms.fail(
        "a site",
        installation,
        WORKER,
        ASSUMED["failure"],
        np.arange(workers),
        np.random.default_rng(seed),
        reroute_s=1.0,
        detect_s=0.75,
        dead_sites=(0,),
        horizon_s=60.0,
    )


def test_queues_serve_first_come_first_served_and_forget_the_oldest_beyond_their_places() -> None:
    rng = np.random.default_rng(3)
    workers, places = 5, 8
    queues = HandshakeQueues(workers, places)
    waiting: list[deque[int]] = [deque(maxlen=places) for _ in range(workers)]
    place_of: dict[int, tuple[int, float]] = {}
    made: set[int] = set()
    made_by_hand: set[int] = set()
    caller = 0
    for _ in range(200):
        asked = rng.integers(0, workers, rng.integers(0, 12))
        for worker, place in zip(asked.tolist(), queues.join(asked).tolist(), strict=True):
            waiting[worker].append(caller)
            place_of[caller] = (worker, place)
            caller += 1
        handshakes = rng.integers(0, 4, workers)
        after, until = queues.serve(handshakes.astype(np.float64))
        made |= {who for who, (worker, place) in place_of.items() if after[worker] < place <= until[worker]}
        for worker, count in enumerate(handshakes.tolist()):
            made_by_hand |= {waiting[worker].popleft() for _ in range(min(count, len(waiting[worker])))}
    assert made == made_by_hand
    assert len(made) < caller


def test_every_session_of_a_lost_site_is_back_where_the_other_has_room() -> None:
    storm = lose_a_site(60)
    assert storm.returned == storm.lost_sessions > 0
    assert storm.given_up == storm.wasted_handshakes == 0
    assert storm.use_after == pytest.approx(float(WORKER.use(120)), rel=0.05)
    assert storm.median_s > 1.0


def test_two_sites_that_are_three_quarters_full_do_not_carry_each_other() -> None:
    storm = lose_a_site(150)
    assert storm.p99_s > 2 * lose_a_site(60).p99_s
    assert storm.wasted_handshakes > storm.lost_sessions
    assert storm.most_use_after > 1


def test_callers_are_back_no_sooner_than_the_network_knows() -> None:
    storm = lose_a_site(60)
    assert sum(back for _, back, _, _ in storm.series[:1]) == 0


def test_the_same_seed_gives_the_same_storm() -> None:
    assert lose_a_site(100, seed=5) == lose_a_site(100, seed=5)
    assert lose_a_site(100, seed=5) != lose_a_site(100, seed=6)


def test_a_lost_process_costs_its_own_sessions_alone() -> None:
    storm = storms.fail(
        "a process",
        Installation(2_000, 1, 20),
        WORKER,
        ASSUMED["failure"],
        np.array([3]),
        np.random.default_rng(1),
        reroute_s=0.2,
        detect_s=0.2,
    )
    assert 60 < storm.lost_sessions < 140
    assert storm.returned == storm.lost_sessions == storm.attempts
    assert storm.longest_s < 1.0


def an_update(batch_share: float, pause_s: float) -> storms.Update:
    return storms.update(
        Installation(10_000, 1, 100),
        WORKER,
        ASSUMED["update"],
        180.0,
        np.random.default_rng(1),
        batch_share=batch_share,
        pause_s=pause_s,
    )


def test_an_update_without_pauses_fills_the_workers_that_are_updated_last() -> None:
    hasty, patient = an_update(0.1, 0.0), an_update(0.1, 360.0)
    assert hasty.most_sessions > 1.2 * patient.most_sessions
    assert hasty.moves_mean > patient.moves_mean >= 0.9
    assert hasty.seconds < patient.seconds / 5


def test_an_update_moves_every_call_of_each_batch_once() -> None:
    one_batch_in_four = an_update(0.25, 10_000.0)
    assert one_batch_in_four.moves_most <= 2
    assert one_batch_in_four.moves_mean == pytest.approx(1.0, abs=0.1)
