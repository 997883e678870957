"""The model beside what was measured: each law with its error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.scale.checks.live_worker import LiveWorker
from bench.scale.checks.redis_store import SaveCost, record_bytes
from bench.scale.checks.simulated_calls import Pattern, SimulatedCalls
from bench.scale.inputs import Figures
from bench.scale.model import store, storms
from bench.scale.model.storms import Installation
from bench.scale.model.worker import WorkerModel

QUIET = 0.05
"""With more than this share of the core taken by others, times are not to be believed."""


@dataclass(frozen=True, slots=True)
class Check:
    """What the model says and what was found, in the same unit; `n` says of how many, and `note` qualifies it.

    The bench fails where a law that depends on no machine's speed errs by more than `within`; others have `None`.
    """

    what: str
    model: float
    found: float
    n: str
    note: str = ""
    within: float | None = None

    @property
    def error(self) -> float:
        """Of the model, relative to what was found."""
        return self.model / self.found - 1 if self.found else float(self.model != 0)

    @property
    def holds(self) -> bool:
        """Whether the error is within what is allowed."""
        return self.within is None or abs(self.error) <= self.within


def of_figures(figures: Figures) -> list[Check]:
    """The law of the worker is fitted to 16 sessions and to a full core; what lies between is a forecast."""
    worker = WorkerModel.fitted(figures)
    return [
        Check("CPU ms per session and second, 150 sessions on a core", worker.cost_ms(150),
              figures["session_cpu_ms_at_150"], "a ramp", "measured from 5.4 to 5.9"),
    ]  # fmt: skip


def of_calls(calls: Sequence[tuple[Pattern, SimulatedCalls]]) -> list[Check]:
    """Placement and saves, exactly: simulated hosts run the production code on virtual time."""
    placed = [each for _, found in calls for each in found.placed]
    rebound = sum(found.rebound for _, found in calls)
    rows = [
        Check("calls whose first packet went to the worker that the table names", len(placed),
              sum(mine == theirs for mine, theirs in placed), f"{len(placed)} calls", within=0.0),
        Check("calls whose address changed and that kept their worker", rebound, sum(found.kept for _, found in calls),
              f"{rebound} calls", f"by hash, {sum(found.moved for _, found in calls)} would have moved", within=0.0),
    ]  # fmt: skip
    for pattern, found in calls:
        rows.append(
            Check(f"saves a turn, {pattern.talk_s:g} s of speech and {pattern.pause_s:g} s of pause",
                  store.saves_a_turn(pattern.pause_s), found.saves / found.turns, f"{found.turns} turns", within=0.1)
        )  # fmt: skip
    return rows


def of_kills(figures: Figures, assumed: dict[str, Any], gaps_ms: Sequence[float], calls: int, seed: int) -> list[Check]:
    """One caller at a time, so that no handshake waits: what is left of the law is when clients know, and redial."""
    storm = storms.fail(
        "a worker", Installation(3000, 1, 30), WorkerModel.fitted(figures), assumed["failure"], np.array([0]),
        np.random.default_rng(seed), reroute_s=assumed["failure"]["refused_s"], detect_s=assumed["failure"]["detect_s"],
    )  # fmt: skip
    return [
        Check("calls that go on after their worker was killed", calls, len(gaps_ms), f"{calls} calls", within=0.0),
        Check("s until such a call goes on, median", storm.median_s, float(np.median(gaps_ms)) / 1000,
              f"{len(gaps_ms)} calls"),
        Check("s until such a call goes on, longest", storm.longest_s, max(gaps_ms) / 1000, f"{len(gaps_ms)} calls"),
    ]  # fmt: skip


def of_worker(figures: Figures, live: LiveWorker) -> list[Check]:
    """Ratios within one run: levels by the first level, handshakes beside sessions by handshakes alone."""
    worker, rows = WorkerModel.fitted(figures), []
    first, *more = live.levels
    for level in more:
        rows.append(
            Check(f"cost of a session of {level.sessions}, by that of {first.sessions}",
                  worker.cost_ms(level.sessions) / worker.cost_ms(first.sessions),
                  level.cpu_ms_per_session_s / first.cpu_ms_per_session_s, "windows of 5 s")
        )  # fmt: skip
    alone, *beside = live.storms
    for each in beside:
        rows.append(
            Check(f"handshakes a second beside {each.sessions} sessions, by those without",
                  float(worker.handshakes_per_s(each.sessions)) * worker.handshake_s,
                  each.handshakes_per_s / alone.handshakes_per_s, "windows of 5 s")
        )  # fmt: skip
    return rows


def of_pair(figures: Figures, live: LiveWorker) -> list[Check]:
    """How many sessions fill two cores on which the callers run, too; the benchmark found that at `pair_carried`."""
    worker = WorkerModel.fitted(figures)
    callers = sorted(level.callers_ms_per_session_s for level in live.levels)[len(live.levels) // 2] / 1000
    count = np.arange(2, 400, 2)
    taken = 2 * worker.use(count / 2) * figures["neighbour_factor"] + count * callers
    return [
        Check("sessions of two workers on two cores that their callers share", float(count[taken < 2].max()),
              figures["pair_carried"], "a ramp", f"callers take {1000 * callers:.1f} ms of CPU a session and second")
    ]  # fmt: skip


def of_queues(seed: int) -> list[Check]:
    """The laws of queues beside queues simulated request by request."""
    rng, rows = np.random.default_rng(seed), []
    service_s, count = 1e-3, 400_000
    for use in (0.3, 0.6, 0.9):
        arrivals = np.cumsum(rng.exponential(service_s / use, count))
        rows.append(
            Check(f"mean wait at a store that is used to {use:.0%}, in service times",
                  store.mean_wait_s(use, service_s) / service_s,
                  float(store.simulated_waits_s(arrivals, service_s).mean()) / service_s,
                  f"{count} requests", within=0.05)
        )  # fmt: skip
    return rows


def fitted_record(turns: Sequence[int] = (5, 60)) -> store.RecordSize:
    """The straight line through the sizes of records of calls of so many turns, whose lines have 12 words."""
    slope, base = np.polyfit(turns, [record_bytes(each) for each in turns], 1)
    return store.RecordSize(float(base), float(slope))


def fitted_saves(costs: Sequence[SaveCost]) -> dict[str, float]:
    """Figures of the store: what a save costs, and each KB of its record."""
    size = np.array([each.record_bytes for each in costs]) / 1000
    redis_kb, redis = np.polyfit(size, [each.redis_us for each in costs], 1)
    worker_kb, worker = np.polyfit(size, [each.worker_us for each in costs], 1)
    return {
        "redis_save_us": float(redis), "redis_save_us_per_kb": float(redis_kb),
        "worker_save_us": float(worker), "worker_save_us_per_kb": float(worker_kb),
    }  # fmt: skip
