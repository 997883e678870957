"""What so many sessions need of each resource, which one is used up first, and what all of it costs."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

from bench.scale.inputs import Figures
from bench.scale.model import store
from bench.scale.model.worker import WorkerModel

_HOUR_S = 3600
_GB = 1e9
_IP_UDP_BYTES = 28


@dataclass(frozen=True, slots=True)
class Session:
    """What one session takes each second: of CPU in ms, of datagrams, saves and bytes; and of memory."""

    worker: WorkerModel
    saves_per_s: float
    record_bytes: float
    redis_ms: float
    balancer_ms: float
    balancer_batched_ms: float
    datagrams_per_s: float
    up_bytes: float
    down_bytes: float
    kilobytes: float
    handshakes_per_s: float

    @classmethod
    def of(
        cls, figures: Figures, assumed: dict[str, Any], record: store.RecordSize, *, agent_ms: float = 0.0
    ) -> Session:
        """A session with `agent_ms` of an agent in its worker; saves and its own handshake are part of its cost."""
        calls = assumed["calls"]
        call_s = 60 * calls["minutes"]
        saves = store.saves_per_s(calls["turns_per_minute"], calls["talk_s"], call_s)
        size = record.mean_bytes(call_s, calls["turns_per_minute"])
        handshakes = 1 / call_s
        saving_ms = saves * store.worker_us(figures, size) / 1000
        shaking_ms = 1000 * handshakes / figures["handshakes_per_cpu_s"]
        worker = WorkerModel.fitted(figures, extra_ms=agent_ms + saving_ms + shaking_ms)
        up, down = figures["datagrams_up_per_s"], figures["datagrams_down_per_s"]
        return cls(
            worker=worker,
            saves_per_s=saves,
            record_bytes=size,
            redis_ms=saves * store.redis_us(figures, size) / 1000,
            balancer_ms=(up + down) * figures["forward_ns"] / 1e6,
            balancer_batched_ms=(up + down) * figures["forward_batched_ns"] / 1e6,
            datagrams_per_s=up + down,
            up_bytes=figures["up_bytes_per_s"] + up * _IP_UDP_BYTES,
            down_bytes=figures["down_bytes_per_s"] + down * _IP_UDP_BYTES,
            kilobytes=figures["session_kilobytes"],
            handshakes_per_s=handshakes,
        )


@dataclass(frozen=True, slots=True)
class Limit:
    """How many sessions one unit of a resource carries at its very end, and how many units the plan buys."""

    resource: str
    unit: str
    sessions_per_unit: float
    units_planned: int


def limits(session: Session, figures: Figures, assumed: dict[str, Any]) -> list[Limit]:
    """All resources, the one that is used up first at the top."""
    plan = assumed["installation"]
    sessions, cores = plan["sessions"], plan["cores_per_host"]
    workers = planned_workers(session, figures, assumed)
    memory_mb = cores * plan["memory_gb_per_core"] * 1024
    per_host = (memory_mb - cores * plan["worker_base_mb"]) / (session.kilobytes / 1000)
    gigabit = 10e9 / 8 / max(session.up_bytes, session.down_bytes)
    found = [
        Limit("a worker's CPU", "core", session.worker.full / figures["neighbour_factor"], workers),
        Limit("the load balancer's CPU", "core", 1000 / session.balancer_ms,
              ceil(sessions * session.balancer_ms / 1000 / plan["balancer_share"])),
        Limit("the store's CPU", "Redis (one core)", 1000 / session.redis_ms,
              ceil(sessions * session.redis_ms / 1000 / plan["redis_share"])),
        Limit("a host's memory", f"host of {cores} cores", per_host, ceil(workers / cores)),
        Limit("a network card, one direction", "10 Gbit/s", gigabit, ceil(sessions / gigabit / 0.6)),
        Limit("handshakes of new calls alone", "core", figures["handshakes_per_cpu_s"] / session.handshakes_per_s,
              ceil(sessions * session.handshakes_per_s / figures["handshakes_per_cpu_s"])),
    ]  # fmt: skip
    return sorted(found, key=lambda each: each.sessions_per_unit)


def planned_workers(session: Session, figures: Figures, assumed: dict[str, Any]) -> int:
    """Workers, one a core, so that each has the planned share of what it carries beside its neighbours."""
    per_core: float = assumed["installation"]["planned_share"] * session.worker.full / figures["neighbour_factor"]
    return ceil(int(assumed["installation"]["sessions"]) / per_core)


@dataclass(frozen=True, slots=True)
class AgentPlace:
    """Cores for a thousand sessions whose agents take `agent_ms` of CPU a second, in the worker or in agent hosts."""

    agent_ms: float
    sessions_per_worker: float
    cores_in_worker: float
    cores_with_hosts: float


def agent_place(figures: Figures, assumed: dict[str, Any], record: store.RecordSize, agent_ms: float) -> AgentPlace:
    """Compare both places; what carrying a call's audio to a host costs the worker is not in it."""
    plan = assumed["installation"]
    share = plan["planned_share"] / figures["neighbour_factor"]
    inside = Session.of(figures, assumed, record, agent_ms=agent_ms).worker.full * share
    apart = Session.of(figures, assumed, record).worker.full * share
    hosts = 1000 * agent_ms / 1000 / assumed["agent"]["host_core_share"]
    return AgentPlace(agent_ms, inside, 1000 / inside, 1000 / apart + hosts)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a thousand calls at a time, an hour: cores and US dollars, of computing and of data that goes out."""

    name: str
    cores: float
    compute_usd: float
    egress_usd: float | None
    does: str
    source: str


def costs(session: Session, figures: Figures, assumed: dict[str, Any]) -> list[Cost]:
    """Ours, at the planned share; and what others publish a core to carry, at the same price and the same share."""
    plan, price = assumed["installation"], assumed["price"]
    thousand = 1000 / plan["sessions"]
    cores = sum(each.units_planned * thousand for each in limits(session, figures, assumed) if each.resource in _BOUGHT)
    egress = 1000 * session.down_bytes * _HOUR_S / _GB * price["egress_gb_usd"]
    ours = Cost(
        "this gateway: workers, load balancers, Redis", cores, cores * price["core_hour_usd"], egress,
        "sessions that outlive their worker, voice activity, codec; agent beside it", "this page",
    )  # fmt: skip
    others = []
    for peer in assumed["peer"]:
        share = 1.0 if peer["is_planned"] else plan["planned_share"]
        count = 1000 / (peer["calls_per_core"] * share)
        others.append(Cost(peer["name"], count, count * price["core_hour_usd"], None, peer["does"], peer["source"]))
    return [ours, *others]


_BOUGHT = ("a worker's CPU", "the load balancer's CPU", "the store's CPU")
