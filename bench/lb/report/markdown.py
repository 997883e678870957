"""The tables, in Markdown."""

from __future__ import annotations

from collections.abc import Callable

from bench.figures import table
from bench.lb.measure import DIRECT, Point
from bench.lb.report.outcome import ratio
from bench.lb.report.results import REFERENCE, Results, goals, speed
from bench.lb.traffic.pool import Traffic

ABSENT = "-"


def markdown(results: Results) -> str:
    """The whole report. Figures are medians over the rounds, counts are sums."""
    parts = [_head(results), _goals(results)]
    for is_batched in (False, True):
        parts += [_throughput(results, is_batched), _latency(results, is_batched)]
    parts += [_memory(results), _scaling(results), _faults(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(results: Results) -> str:
    machine = results.machine
    lines = [
        "# The load balancer beside others, on loopback",
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}, "
        f"{machine['priority']}. Each implementation has one core; only ratios within this run mean anything, and the "
        f"less the more others used of the machine meanwhile: {100 * results.others_share:.0f} %."
        + (" A quick run: short and with few rounds." if results.is_quick else ""),
        table(["implementation", "version"], [[n, v] for n, v in results.versions.items()]),
    ]
    if results.missing:
        lines.append("\n".join(f"- {name} did not take part: {why}" for name, why in results.missing.items()))
    return "\n\n".join(lines)


def _goals(results: Results) -> str:
    ours = results.ours
    if ours is None:
        return ""
    rows = []
    for goal in goals(results, ours):
        verdict = "unknown" if goal.value is None else "yes" if goal.is_met else "no"
        rows.append([goal.text, _number(goal.value, 2), verdict])
    note = "Speed is by processor time, 200 bytes and plaintext; against nginx and Envoy with batching backends."
    return f"## What {ours} aims at\n\n{note}\n\n" + table(["aim", "found", "met"], rows)


def _throughput(results: Results, is_batched: bool) -> str:
    points = [p for p in results.throughput if p.backends_batch == is_batched]
    if not points:
        return ""
    kinds = list(dict.fromkeys((p.traffic, p.size) for p in points))
    names = list(dict.fromkeys(p.implementation for p in points))

    def rows(cell: Callable[[Point, Point | None], str]) -> list[list[str]]:
        def at(name: str, kind: tuple[Traffic, int]) -> str:
            point = results.capacity_of(name, *kind, is_batched=is_batched)
            c = results.capacity_of(REFERENCE, *kind, is_batched=is_batched)
            return cell(point, c) if point else ABSENT

        return [[name, *(at(name, kind) for kind in kinds)] for name in names]

    header = ["", *(f"{traffic} {size}" for traffic, size in kinds)]
    return "\n\n".join(
        [
            f"## Capacity, {_backends(is_batched)}",
            "Processor time of the implementation per forwarded datagram, in ns; in brackets the speed relative to C.",
            table(header, rows(_cost)),
            "Thousand datagrams a second by the clock, both ways together, and how much of its core it used: "
            "much less than 100 % means that clients, backends or others were the limit, and then who works in "
            "batches had smaller ones, which cost more, than at full load.",
            table(header, rows(_rate)),
        ]
    )


def _cost(point: Point, reference: Point | None) -> str:
    return f"{_number(point.cpu_ns_per_datagram)} ({_number(speed(point, reference), 2)})"


def _rate(point: Point, _: Point | None) -> str:
    rate, share = point.datagrams_per_s, point.core_share
    return f"{_number(rate and rate / 1000)}, {_number(share and 100 * share)} %"


def _latency(results: Results, is_batched: bool) -> str:
    points = [p for p in results.latency if p.backends_batch == is_batched and p.implementation != DIRECT]
    if not points:
        return ""
    rows = []
    for point in points:
        total = point.total
        rows.append(
            [
                point.implementation,
                "1 kpps" if point.share is None else f"{100 * point.share:.0f} %",
                _number(total.sent / total.seconds),
                *(_number(point.latency_us(q)) for q in (0.5, 0.99)),
                *(_number(results.added_us(point, q)) for q in (0.5, 0.99)),
                f"{total.lost} of {total.sent}",
            ]
        )
    header = ["", "load", "sent/s", "p50 us", "p99 us", "added p50", "added p99", "lost"]
    return "\n\n".join(
        [
            f"## Latency and loss, {_backends(is_batched)}",
            "200 bytes, plaintext. Load is the share of the implementation's own capacity by the clock. A round trip "
            "is two passes through the implementation; added is the difference to clients that talk to a "
            "backend directly at the same rate.",
            table(header, rows),
        ]
    )


def _memory(results: Results) -> str:
    if not results.memory:
        return ""
    rows = []
    for run in results.memory:
        first, last = run.samples[0], run.samples[-1]
        rows.append(
            [
                run.implementation,
                _number(run.addresses),
                f"{_number(first.resident_bytes / 1e6, 1)} to {_number(last.resident_bytes / 1e6, 1)}",
                f"{_number(run.kernel_growth_bytes / 1e6, 1)}",
                f"{first.open_files} to {max(sample.open_files for sample in run.samples)}",
                f"{_number(100 * run.outcome.received / max(1, run.outcome.sent), 2)} %",
            ]
        )
    header = ["", "client addresses", "resident MB", "kernel slabs, + MB", "open files, most", "answered"]
    note = f"One datagram from each of so many client addresses. A process may open {results.machine['files']} files."
    ends = "".join(f"\n\n{run.implementation} ended meanwhile: `{run.end}`" for run in results.memory if run.end)
    return f"## Memory\n\n{note}\n\n{table(header, rows)}{ends}"


def _scaling(results: Results) -> str:
    if not results.scaling:
        return ""
    one, two = results.scaling[1], results.scaling[2]
    rows = [
        [
            a.implementation,
            *(_number(rate and rate / 1000) for rate in (a.datagrams_per_s, b.datagrams_per_s)),
            _number(ratio(b.datagrams_per_s, a.datagrams_per_s), 2),
            *(_number(cost) for cost in (a.cpu_ns_per_datagram, b.cpu_ns_per_datagram)),
            *(_number(share, 2) for share in (a.core_share, b.core_share)),
        ]
        for a, b in zip(one, two, strict=True)
    ]
    header = ["", "one: k/s", "two: k/s", "gain", "one: ns", "two: ns", "one: cores", "two: cores"]
    note = (
        "Both times free to use the same two cores, SO_REUSEPORT, 512 flows, batching backends. "
        "On a machine of two cores the clients and backends run on one of them too, so that the clock's gain is less "
        "than more cores would show; processor time per datagram that stays equal is the sign of no contention."
    )
    return f"## Two processes\n\n{note}\n\n" + table(header, rows)


def _faults(results: Results) -> str:
    rows = []
    for name in results.versions:
        totals = [point.total for point in results.points_of(name)]
        totals += [run.outcome for run in results.memory if run.implementation == name]
        counts = [sum(getattr(t, what) for t in totals) for what in _FAULTS]
        rows.append([name, *map(str, counts)])
    note = (
        "Over the whole run. Misrouted: another backend than the connection ID's answered, or for who reads none (and "
        "for Initials) another than the flow's first. Misdelivered: the answer came to another client's address."
    )
    return f"## Faults\n\n{note}\n\n" + table(["", *_FAULTS], rows)


def _backends(is_batched: bool) -> str:
    return "backends that batch (UDP_GRO, UDP_SEGMENT)" if is_batched else "backends that do not batch"


def _number(value: float | None, digits: int = 0) -> str:
    return ABSENT if value is None else f"{value:,.{digits}f}"


_FAULTS = ("received", "misrouted", "misdelivered", "reordered", "untrusted", "refused")
