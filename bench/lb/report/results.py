"""Everything that a run found, and the questions that the tables ask of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bench.figures import commit
from bench.lb.measure import DIRECT, Point
from bench.lb.memory import MemoryRun
from bench.lb.report.outcome import median, ratio
from bench.lb.traffic.pool import Traffic

REFERENCE = "C reference"
MEMORY_GROWTH_MB = 2.0
"""What resident memory may grow by after the first tenth of the client addresses."""
_MANY_ADDRESSES = 1_000_000


@dataclass(slots=True)
class Results:
    """`missing` maps the names of implementations that did not take part to the reason.

    `others_share` is how much of the machine, 0..1, went to processes that have nothing to do with the run.
    """

    machine: dict[str, str | int | float]
    is_quick: bool
    versions: dict[str, str]
    missing: dict[str, str]
    others_share: float = 0.0
    throughput: list[Point] = field(default_factory=list)
    latency: list[Point] = field(default_factory=list)
    memory: list[MemoryRun] = field(default_factory=list)
    scaling: dict[int, list[Point]] = field(default_factory=dict)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Results:
        """What `to_json` wrote, once parsed; raises `msgspec.ValidationError` for what another version wrote."""
        return msgspec.convert(document, cls, strict=False)

    def to_json(self) -> str:
        return json.dumps({"commit": commit(), **dataclasses.asdict(self)}, indent=1, default=_plain)

    def capacity_of(self, implementation: str, traffic: Traffic, size: int, *, is_batched: bool) -> Point | None:
        wanted = (implementation, traffic, size, is_batched)
        return next(
            (p for p in self.throughput if (p.implementation, p.traffic, p.size, p.backends_batch) == wanted), None
        )

    def speed(self, implementation: str, to: str, *, is_batched: bool) -> float | None:
        """How many datagrams `implementation` passes on in the time that `to` needs for one: 200 bytes, plaintext."""
        one, other = (self.capacity_of(n, Traffic.PLAINTEXT, 200, is_batched=is_batched) for n in (implementation, to))
        return speed(one, other)

    def latency_of(self, implementation: str, share: float | None, *, is_batched: bool) -> Point | None:
        wanted = (implementation, share, is_batched)
        return next((p for p in self.latency if (p.implementation, p.share, p.backends_batch) == wanted), None)

    def added_us(self, point: Point, q: float) -> float | None:
        """The round trip's quantile less that of clients who talk to a backend directly at the same rate."""
        same = (p for p in self.latency if p.implementation == DIRECT and p.rate == point.rate)
        direct = next((p for p in same if p.backends_batch == point.backends_batch), None)
        through, straight = point.latency_us(q), direct.latency_us(q) if direct else None
        return None if through is None or straight is None else through - straight

    @property
    def ours(self) -> str | None:
        """The load balancer's default datapath, if it took part."""
        return next((name for name in self.versions if name.startswith("quiclb")), None)

    def growth_mb(self, implementation: str) -> float | None:
        """Growth after a tenth of the addresses; `None` after fewer addresses than fill every cache."""
        runs = [r for r in self.memory if r.implementation == implementation and r.addresses >= _MANY_ADDRESSES]
        return max(run.late_growth_bytes for run in runs) / 1e6 if runs else None

    def points_of(self, implementation: str) -> list[Point]:
        scaled = [point for points in self.scaling.values() for point in points]
        return [p for p in [*self.throughput, *self.latency, *scaled] if p.implementation == implementation]


def speed(point: Point | None, to: Point | None) -> float | None:
    """`to`'s processor time per datagram over `point`'s: the median over rounds, within which noise is alike."""
    if point is None or to is None:
        return None
    pairs = zip(point.rounds, to.rounds, strict=False)
    return median(ratio(theirs.cpu_ns_per_datagram, own.cpu_ns_per_datagram) for own, theirs in pairs)


@dataclass(frozen=True, slots=True)
class Goal:
    """What the project aims at and what this run found; `value` is `None` where a implementation was missing."""

    text: str
    value: float | None
    unit: str
    is_met: bool


def goals(results: Results, implementation: str) -> list[Goal]:
    """The project's aims for one implementation, by the figures of this run."""

    def at_least(text: str, value: float | None, bound: float) -> Goal:
        return Goal(f"{text}, at least {bound:g}", value, "x", value is not None and value >= bound)

    def at_most(text: str, value: float | None, bound: float, unit: str) -> Goal:
        return Goal(f"{text}, at most {bound:g} {unit}", value, unit, value is not None and value <= bound)

    growth_mb = results.growth_mb(implementation)
    return [
        at_least("speed against C, plain backends", results.speed(implementation, REFERENCE, is_batched=False), 0.9),
        at_least("speed against C, batching backends", results.speed(implementation, REFERENCE, is_batched=True), 1.25),
        at_least("speed against nginx", results.speed(implementation, "nginx stream", is_batched=True), 1.8),
        at_least("speed against Envoy", results.speed(implementation, "Envoy udp_proxy", is_batched=True), 2.2),
        at_most("added p50 at 1 kpps against C", _added_at_1_kpps(results, implementation), 1.3, "x"),
        at_most("p50 of the round trip at 25 to 75 % load", _worst_p50_ms(results, implementation), 5, "ms"),
        at_most("memory growing after a tenth of the addresses", growth_mb, MEMORY_GROWTH_MB, "MB"),
    ]


def _added_at_1_kpps(results: Results, implementation: str) -> float | None:
    added = []
    for name in (implementation, REFERENCE):
        points = [results.latency_of(name, None, is_batched=is_batched) for is_batched in (False, True)]
        added.append(median(results.added_us(point, 0.5) for point in points if point is not None))
    return ratio(added[0], added[1])


def _worst_p50_ms(results: Results, implementation: str) -> float | None:
    points = [p for p in results.latency if p.implementation == implementation and p.share is not None]
    worst = [p50 for p in points if (p50 := p.latency_us(0.5)) is not None]
    return max(worst) / 1000 if worst else None


def _plain(value: Any) -> Any:
    return str(value)
