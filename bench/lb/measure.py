"""The measurements. Each visits the implementations in turn, in rounds, so that a busy moment affects all alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench.lb.lb_testbed import LbTestbed
from bench.lb.peers.implementations import Implementation, started
from bench.lb.process import Pinned
from bench.lb.report.outcome import Outcome, median, pooled, quantile
from bench.lb.traffic.clients import DEFAULT_FLOWS, Load
from bench.lb.traffic.pool import Address, Pool, Traffic

WINDOW = 1024
"""Datagrams under way while capacity is measured: enough for two of the largest batches anyone takes."""

ONE_KPPS = 1000.0
SHARES = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how often each point is measured."""

    seconds: float
    rounds: int
    latency_seconds: float
    latency_rounds: int


@dataclass(slots=True)
class Point:
    """All rounds of one implementation at one setting."""

    implementation: str
    traffic: Traffic
    size: int
    backends_batch: bool
    share: float | None = None
    rate: float | None = None
    rounds: list[Outcome] = field(default_factory=list)

    @property
    def datagrams_per_s(self) -> float | None:
        return median(outcome.datagrams_per_s for outcome in self.rounds)

    @property
    def cpu_ns_per_datagram(self) -> float | None:
        return median(outcome.cpu_ns_per_datagram for outcome in self.rounds)

    @property
    def core_share(self) -> float | None:
        return median(outcome.core_share for outcome in self.rounds)

    def latency_us(self, q: float) -> float | None:
        """The median over rounds of the round trip's quantile."""
        value = median(quantile(outcome.latency_ns, q) for outcome in self.rounds)
        return None if value is None else value / 1000

    @property
    def total(self) -> Outcome:
        return pooled(self.rounds)


@dataclass(frozen=True, slots=True)
class Runner:
    """An implementation that runs, or none: then `target` is a backend."""

    name: str
    target: Address
    is_sticky: bool
    processes: Sequence[Pinned]


DIRECT = "no load balancer"


def throughput(
    testbed: LbTestbed,
    implementations: Sequence[Implementation],
    kinds: Iterable[tuple[Traffic, int]],
    *,
    is_batched: bool,
    effort: Effort,
) -> list[Point]:
    """As much as each can pass on, for each kind of traffic and datagram size in bytes."""
    with ExitStack() as stack:
        runners = _start(stack, testbed, implementations, is_batched=is_batched)
        points = [Point(r.name, traffic, size, is_batched) for traffic, size in kinds for r in runners]
        for runner, point in _rounds(runners, points, effort.rounds):
            load = Load(point.size, effort.seconds, window=WINDOW, is_sticky=runner.is_sticky)
            _run(testbed, runner, point, load)
    return points


def latency(
    testbed: LbTestbed,
    implementations: Sequence[Implementation],
    capacity: dict[str, float],
    *,
    is_batched: bool,
    effort: Effort,
) -> list[Point]:
    """Round trips and losses at 1 kpps and at shares of each implementation's own capacity (datagrams a second).

    At each rate the clients also talk to a backend directly, which gives the latency that the implementation adds.
    """
    with ExitStack() as stack:
        runners = _start(stack, testbed, implementations, is_batched=is_batched)
        direct = Runner(DIRECT, testbed.pool().backends[0], True, ())
        points = []
        for runner in runners:
            # A round trip is two datagrams to the implementation, hence the half.
            rates = [(None, ONE_KPPS), *((share, capacity[runner.name] / 2 * share) for share in SHARES)]
            for share, rate in rates:
                for name in (runner.name, DIRECT):
                    if name != DIRECT or share is not None or runner is runners[0]:
                        points.append(Point(name, Traffic.PLAINTEXT, 200, is_batched, share, rate))
        for runner, point in _rounds([*runners, direct], points, effort.latency_rounds):
            load = Load(point.size, effort.latency_seconds, rate=point.rate, is_sticky=runner.is_sticky)
            _run(testbed, runner, point, load)
    return points


def scaling(testbed: LbTestbed, implementations: Sequence[Implementation], effort: Effort) -> dict[int, list[Point]]:
    """Capacity with one and with two processes, each time on the same two cores, by number of processes.

    On a machine of two cores clients and backends take their part of them; then the cost of a datagram is the honest
    figure.
    """
    cores = sorted({*testbed.cores.implementation, *testbed.cores.clients})
    found = {}
    for processes in (1, 2):
        with ExitStack() as stack:
            runners = _start(stack, testbed, implementations, is_batched=True, cores=cores, processes=processes)
            points = [Point(runner.name, Traffic.PLAINTEXT, 200, True) for runner in runners]
            for runner, point in _rounds(runners, points, effort.rounds):
                load = Load(200, effort.seconds, window=WINDOW, flows=8 * DEFAULT_FLOWS, is_sticky=runner.is_sticky)
                _run(testbed, runner, point, load)
        found[processes] = points
    return found


def _start(
    stack: ExitStack,
    testbed: LbTestbed,
    implementations: Sequence[Implementation],
    *,
    is_batched: bool,
    cores: Sequence[int] | None = None,
    processes: int = 1,
) -> list[Runner]:
    stack.enter_context(testbed.backends(is_batched=is_batched))
    runners = []
    for implementation in implementations:
        pool: Pool = testbed.pool()
        folder = testbed.folder / implementation.name.replace(" ", "-")
        up = stack.enter_context(
            started(implementation, pool, folder, cores or testbed.cores.implementation, processes)
        )
        runners.append(Runner(implementation.name, pool.vip, not implementation.reads_cids, up))
    return runners


def _rounds(runners: Sequence[Runner], points: Sequence[Point], rounds: int) -> Iterator[tuple[Runner, Point]]:
    """Each point once a round; every second round runs backwards."""
    by_name = {runner.name: runner for runner in runners}
    for number in range(rounds):
        for point in points if number % 2 == 0 else reversed(points):
            yield by_name[point.implementation], point


def _run(testbed: LbTestbed, runner: Runner, point: Point, load: Load) -> None:
    point.rounds.append(testbed.clients.run(runner.target, testbed.templates[point.traffic], load, runner.processes))
