"""The load balancer: cost and memory beside C, nginx and Envoy, faults, and calls beside a routing map in Redis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.figures import table
from bench.lb.memory import MemoryRun
from bench.lb.report.results import MEMORY_GROWTH_MB, Results
from bench.lb.traffic.pool import Traffic

_SIZE = 200


def beside_others(document: Mapping[str, Any]) -> str:
    """Speed by processor time, and memory by client address, of every implementation."""
    results = Results.from_document(document)
    ours = results.ours
    if ours is None:
        return f"quiclb did not take part: {results.missing}"
    rows = [
        [other, *(_times(results.speed(ours, other, is_batched=is_batched)) for is_batched in (False, True)), n]
        for other in results.versions
        if other != ours and (n := rounds_of(results, other))
    ]
    text = (
        f"Datagrams that {ours} forwards per CPU second, relative to each, {_SIZE} bytes, plaintext; median over the "
        "rounds of one run. Less than 1: the other is faster.\n\n"
        + table(["beside", "backends that do not batch", "backends that batch", "rounds"], rows)
    )
    if results.memory:
        memory = [[run.implementation, f"{run.addresses:,}", *_grown(run)] for run in results.memory]
        header = ["implementation", "client addresses", "MB at first", "MB at last", "bytes per address"]
        growth = results.growth_mb(ours)
        said = "is known after a million addresses only" if growth is None else f"was {growth:.1f} MB"
        text += (
            f"\n\nMemory; the growth of {ours} after the first tenth of the addresses {said}, "
            f"at most {MEMORY_GROWTH_MB:g} MB is the aim.\n\n{table(header, memory)}"
        )
    missing = [f"- {name} did not take part: {reason}" for name, reason in results.missing.items()]
    return "\n\n".join([text, *(["\n".join(missing)] if missing else [])])


def speeds(results: Results) -> dict[str, float]:
    """Datagrams per CPU second relative to each of the others, with batching backends; empty where ours is missing."""
    ours = results.ours
    others = [name for name in results.versions if not name.startswith("quiclb")]
    found = {name: results.speed(ours, name, is_batched=True) for name in others} if ours else {}
    return {name: speed for name, speed in found.items() if speed is not None}


def rounds_of(results: Results, implementation: str) -> int:
    """How many rounds its capacity was measured in."""
    points = [
        results.capacity_of(implementation, Traffic.PLAINTEXT, _SIZE, is_batched=is_batched)
        for is_batched in (False, True)
    ]
    return max((len(point.rounds) for point in points if point), default=0)


def bytes_per_address(run: MemoryRun) -> float:
    """Resident memory from before the first client to the last, per client address; the kernel's is not in it."""
    return (run.samples[-1].resident_bytes - run.samples[0].resident_bytes) / run.addresses


def faults(document: Mapping[str, Any]) -> str:
    """One row for each fault."""
    rows = [
        [name, *(f"{each[key]:,}" for key in ("sent", "lost_inward", "lost_outward", "in_full_queues", "astray"))]
        for name, each in document["faults"].items()
    ]
    header = ["fault", "sent", "lost inward", "lost outward", "of these in full queues", "astray"]
    return f"Datagrams on loopback, {document['rate']:g} a second.\n\n{table(header, rows)}"


def routed(document: Mapping[str, Any]) -> str:
    """One row for each event, one column for each load balancer, and what each holds for a client address."""
    found = document["implementations"]
    events = next(iter(found.values()))["events"] if found else {}
    rows = [[event, *(_kept(each["events"][event]) for each in found.values())] for event in events]
    memory = [
        ["resident bytes for a client address", *(each["memory"]["bytes"] for each in found.values())],
        ["sockets for a client address", *(each["memory"]["sockets"] for each in found.values())],
        ["remembers", *(each["kept"] for each in found.values())],
        ["version", *(each["version"] for each in found.values())],
    ]
    note = (
        f"The same {document['calls']} calls meet all events, {document['one_way_ms']:g} ms one way, loopback. Calls "
        "kept; longest wait for a frame of the echo, median / p99; after a kill, the time until the load balancer "
        "forwards again. Callers of pion restart ICE 1 s after the last echo."
    )
    missing = [f"- {name} did not take part: {reason}" for name, reason in document["missing"].items()]
    return "\n\n".join([note, table(["event", *found], rows + memory), *missing])


def _kept(event: Mapping[str, Any]) -> str:
    gap = event["gap_ms"]
    down = f", down {event['took_ms']:,} ms" if event["is_restart"] else ""
    return f"{event['kept']} of {event['calls']}; {gap['median']:,.0f} / {gap['p99']:,.0f} ms{down}"


def _times(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f}"


def _grown(run: MemoryRun) -> list[str]:
    if not run.samples:
        return ["-", "-", "-"]
    ends = [f"{each.resident_bytes / 1e6:.1f}" for each in (run.samples[0], run.samples[-1])]
    return [*ends, f"{bytes_per_address(run):.1f}"]
