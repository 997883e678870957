"""All that the model is asked, in one run: the same seed gives the same answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np

from bench.scale.inputs import Figures
from bench.scale.model import hashing, placement, sizing, store, storms
from bench.scale.model.hashing import Disruption, Evenness, Routed, names_of
from bench.scale.model.placement import Spread
from bench.scale.model.sizing import AgentPlace, Cost, Limit, Session
from bench.scale.model.storms import Installation, Storm, Update

SHARES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SITES = (2, 3, 4, 8)
POOLS = (10, 100, 300, 600, 1000, 2000, 5000, 10_000, 20_000)
AGENT_MS = (0.0, 2.0, 5.0, 10.0, 20.0, 40.0)
BATCHES = (0.02, 0.05, 0.1, 0.2)
PAUSES_IN_CALLS = (0.0, 0.5, 1.0, 2.0)
UNEVENNESS = 0.01
"""What `quiclb/routing/fallback.py` states for up to some 600 backends."""


@dataclass(frozen=True, slots=True)
class HostFailure:
    """One process or one host of a site, lost."""

    workers: int
    storm: Storm


@dataclass(frozen=True, slots=True)
class SiteLoss:
    """One of `sites` sites is lost, at so large a share of what a core carries."""

    sites: int
    share: float
    storm: Storm


@dataclass(frozen=True, slots=True)
class Study:
    """Every answer."""

    session: Session
    limits: tuple[Limit, ...]
    installation: Installation
    evenness: tuple[Evenness, ...]
    disruption: tuple[Disruption, ...]
    routed: tuple[Routed, ...]
    spreads: tuple[Spread, ...]
    headroom: tuple[Spread, ...]
    losses: tuple[SiteLoss, ...]
    whole: Storm
    hosts: tuple[HostFailure, ...]
    updates: tuple[Update, ...]
    agents: tuple[AgentPlace, ...]
    costs: tuple[Cost, ...]


def study(figures: Figures, assumed: dict[str, Any], record: store.RecordSize, seed: int, *, is_quick: bool) -> Study:
    """Ask everything; quick means smaller installations, whose workers are loaded as those of the whole one."""
    session = Session.of(figures, assumed, record)
    plan = assumed["installation"]
    per_site = ceil(sizing.planned_workers(session, figures, assumed) / plan["sites"])
    whole = Installation(plan["sessions"], plan["sites"], per_site)
    if is_quick:
        whole = replace(whole, sessions=whole.sessions // 10, workers_per_site=ceil(per_site / 10))
    one = Installation(whole.sessions // whole.sites, 1, whole.workers_per_site)
    pools = POOLS[:6] if is_quick else POOLS
    return Study(
        session=session,
        limits=tuple(sizing.limits(session, figures, assumed)),
        installation=whole,
        evenness=tuple(hashing.evenness(count) for count in pools),
        disruption=tuple(each for count in pools[:6] for each in _changes(count)),
        routed=(hashing.route_live_calls(100, 99, 1000, seed), hashing.route_live_calls(100, 110, 1000, seed)),
        spreads=tuple(
            placement.spread(way, round(one.per_worker * count), count, session.worker.full, _rng(seed, "spread", at))
            for at, (count, way) in enumerate((c, w) for c in (10, 100, one.workers_per_site) for w in placement.WAYS)
        ),
        headroom=_headroom(session, one.workers_per_site, seed),
        losses=tuple(_loss(session, assumed, sites, share, seed, is_quick) for sites in SITES for share in SHARES[:5]),
        whole=storms.fail(
            f"one of {whole.sites} sites", whole, session.worker, assumed["failure"],
            np.arange(whole.workers_per_site), _rng(seed, "whole"), reroute_s=assumed["failure"]["reroute_s"],
            detect_s=assumed["failure"]["detect_s"], dead_sites=(0,),
        ),
        hosts=_hosts(session, assumed, one, seed),
        updates=_updates(session, assumed, one, seed, BATCHES[1:3] if is_quick else BATCHES),
        agents=tuple(sizing.agent_place(figures, assumed, record, each) for each in AGENT_MS),
        costs=tuple(sizing.costs(session, figures, assumed)),
    )  # fmt: skip


def _rng(seed: int, *what: str | int) -> np.random.Generator:
    """Randomness of its own for each question, so that one more question changes no other answer."""
    return np.random.default_rng([seed, *(byte for part in what for byte in str(part).encode())])


def _changes(count: int) -> Sequence[Disruption]:
    names = names_of(count + 1)
    pool = names[:count]
    return (
        hashing.disruption(pool, pool[:-1], "one leaves"),
        hashing.disruption(pool, names, "one joins"),
        hashing.disruption(pool, pool[: count - max(1, count // 10)], "a tenth leaves"),
    )


def _headroom(session: Session, workers: int, seed: int) -> tuple[Spread, ...]:
    full = session.worker.full
    return tuple(
        placement.spread(way, round(share * full * workers), workers, full, _rng(seed, "headroom", at, way))
        for way in ("Maglev table", "less loaded of two")
        for at, share in enumerate(SHARES)
    )


def _loss(session: Session, assumed: dict[str, Any], sites: int, share: float, seed: int, is_quick: bool) -> SiteLoss:
    sessions = 20_000 if is_quick else 100_000
    workers = max(1, round(sessions / sites / (share * session.worker.full)))
    storm = storms.fail(
        f"one of {sites} sites", Installation(sessions, sites, workers), session.worker, assumed["failure"],
        np.arange(workers), _rng(seed, "loss", sites, round(100 * share)), reroute_s=assumed["failure"]["reroute_s"],
        detect_s=assumed["failure"]["detect_s"], dead_sites=(0,), horizon_s=assumed["failure"]["give_up_s"],
    )  # fmt: skip
    return SiteLoss(sites, share, storm)


def _hosts(session: Session, assumed: dict[str, Any], one: Installation, seed: int) -> tuple[HostFailure, ...]:
    failure, found = assumed["failure"], []
    for what, workers, reroute_s, detect_s in (
        ("one worker's process", 1, failure["refused_s"], failure["detect_s"]),
        ("one host", assumed["installation"]["cores_per_host"], failure["health_s"], failure["detect_s"]),
    ):
        dead = np.arange(min(workers, one.workers - 1))
        storm = storms.fail(
            what, one, session.worker, failure, dead, _rng(seed, what), reroute_s=reroute_s, detect_s=detect_s,
        )  # fmt: skip
        found.append(HostFailure(len(dead), storm))
    return tuple(found)


def _updates(
    session: Session, assumed: dict[str, Any], one: Installation, seed: int, batches: Sequence[float]
) -> tuple[Update, ...]:
    call_s = 60 * assumed["calls"]["minutes"]
    return tuple(
        storms.update(
            one,
            session.worker,
            assumed["update"],
            call_s,
            _rng(seed, "update", round(1000 * batch), round(10 * pause)),
            batch_share=batch,
            pause_s=pause * call_s,
        )
        for batch in batches
        for pause in PAUSES_IN_CALLS
    )
