"""Tables and aims from figures made up for them."""

import json

from bench.lb.lb_testbed import Cores, share_cores
from bench.lb.machine import Spent
from bench.lb.measure import DIRECT, Point
from bench.lb.memory import MemoryRun, Sample
from bench.lb.report.markdown import markdown
from bench.lb.report.outcome import Outcome
from bench.lb.report.results import REFERENCE, Results, goals, speed
from bench.lb.traffic.pool import Traffic

OURS = "quiclb"
MACHINE: dict[str, str | int | float] = {
    "cpu": "x",
    "cores": 2,
    "kernel": "6",
    "python": "3.11",
    "priority": "nice 0",
    "files": 1024,
}


def outcome(cost_ns: int, p50_us: int = 100, lost: int = 0) -> Outcome:
    low = 1000 * p50_us
    return Outcome(1.0, 1000 + lost, 1000, 1000, 0, 0, 0, 0, 0, [(low, low, 1000)], 2000 * cost_ns)


def capacity(name: str, *costs_ns: int, is_batched: bool = False) -> Point:
    return Point(name, Traffic.PLAINTEXT, 200, is_batched, rounds=[outcome(cost) for cost in costs_ns])


def delay(name: str, p50_us: int, share: float | None = None, rate: float = 1000.0, lost: int = 0) -> Point:
    return Point(name, Traffic.PLAINTEXT, 200, False, share, rate, [outcome(1, p50_us, lost)])


def remembered(name: str, addresses: int, *resident_mb: int, end: str | None = None) -> MemoryRun:
    steps = len(resident_mb) - 1
    samples = [Sample(addresses * i // steps, mb * 1_000_000, 10 + i, 0) for i, mb in enumerate(resident_mb)]
    return MemoryRun(name, addresses, samples, outcome(1), end)


def results() -> Results:
    found = Results(MACHINE, False, {REFERENCE: "1", OURS: "2"}, {"nginx stream": "not installed"})
    for is_batched, costs in ((False, (2000, 4000, 9000)), (True, (1000, 2000, 4500))):
        found.throughput.append(capacity(REFERENCE, 2000, 3000, 9000, is_batched=is_batched))
        found.throughput.append(capacity(OURS, *costs, is_batched=is_batched))
    found.latency += [delay(DIRECT, 40), delay(REFERENCE, 100), delay(OURS, 112, lost=3)]
    found.latency += [delay(OURS, 900, share=0.5, rate=5000.0), delay(DIRECT, 50, share=0.5, rate=5000.0)]
    found.memory += [remembered(OURS, 10_000_000, 60, *[70] * 20), remembered("Envoy", 100, 60, 90, end="no room")]
    return found


def test_speed_is_the_median_of_the_rounds_ratios() -> None:
    assert speed(capacity(OURS, 1000, 2000, 9000), capacity(REFERENCE, 2000, 2000, 9000)) == 1.0
    assert speed(capacity(OURS, 1000), None) is None


def test_added_latency_is_relative_to_no_load_balancer_at_the_same_rate() -> None:
    found = results()
    rest, busy = found.latency_of(OURS, None, is_batched=False), found.latency_of(OURS, 0.5, is_batched=False)
    assert rest is not None
    assert busy is not None
    assert found.added_us(rest, 0.5) == 72
    assert found.added_us(busy, 0.5) == 850


def test_aims_are_met_missed_or_unknown() -> None:
    verdicts = {goal.text: (goal.value, goal.is_met) for goal in goals(results(), OURS)}
    assert verdicts["speed against C, plain backends, at least 0.9"] == (1.0, True)
    assert verdicts["speed against C, batching backends, at least 1.25"] == (2.0, True)
    assert verdicts["speed against nginx, at least 1.8"] == (None, False)
    assert verdicts["added p50 at 1 kpps against C, at most 1.3 x"] == (1.2, True)
    assert verdicts["p50 of the round trip at 25 to 75 % load, at most 5 ms"] == (0.9, True)
    assert verdicts["memory growing after a tenth of the addresses, at most 2 MB"] == (0.0, True)


def test_memory_over_few_addresses_proves_nothing() -> None:
    found = results()
    found.memory = [remembered(OURS, 1000, 60, *[61] * 20)]
    assert goals(found, OURS)[-1].value is None


def test_the_report_names_who_is_missing_who_ended_and_what_was_lost() -> None:
    text = markdown(results())
    assert "nginx stream did not take part: not installed" in text
    assert "| quiclb | 1 kpps | 1,003 | 112 | 112 | 72 | 72 | 3 of 1003 |" in text
    assert "| quiclb | 4,000 (1.00) |" in text
    assert "Envoy ended meanwhile: `no room`" in text
    assert "## Two processes" not in text


def test_everything_found_is_in_the_json() -> None:
    document = json.loads(results().to_json())
    assert document["throughput"][0]["rounds"][0]["cpu_ns"] == 4_000_000
    assert document["missing"] == {"nginx stream": "not installed"}


def test_cores_are_shared_as_far_as_there_are_any() -> None:
    assert share_cores([3]) == Cores((3,), (3,), (3,))
    assert share_cores([0, 1]) == Cores((0,), (1,), (1,))
    assert share_cores([0, 1, 2, 3]) == Cores((0,), (1,), (2,))


def test_others_are_whoever_is_busy_and_not_ours() -> None:
    assert Spent(10, 8, 3).others_since(Spent(0, 0, 0)) == 0.5
    assert Spent(10, 2, 3).others_since(Spent(0, 0, 0)) == 0.0
    assert Spent(0, 0, 0).others_since(Spent(0, 0, 0)) == 0.0
