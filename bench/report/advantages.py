"""Where a peer does better than the gateway, found in the figures and not chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from bench.capacity.report import Findings, ramp_slope
from bench.capacity.runs.survey import Survey
from bench.lb.report.results import Results
from bench.lb.traffic.pool import Traffic

NOISE: Final = 1.1
"""A peer is better where its figure is lower by more than this factor, and by more than `Compared.least`."""
_OURS: Final = ("gateway", "this gateway", "ours", "quiclb")
_MODES: Final = frozenset({"one stream", "hybrid", "deadline of 0.2 s"})
"""The ways of the uplink have the gateway's names for its modes."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure that several ways have; lower is better. A difference of less than `least` is none."""

    name: str
    unit: str
    figures: Mapping[str, float]
    least: float = 2.0


def advantages(results: Mapping[str, Any]) -> list[str]:
    """A sentence for each figure in which a peer beats the best of the gateway's ways."""
    found = []
    for each in compared(results):
        ours = {way: value for way, value in each.figures.items() if is_ours(way)}
        if not ours:
            continue
        best_name, best = min(ours.items(), key=lambda pair: pair[1])
        for peer, value in each.figures.items():
            if not is_ours(peer) and value * NOISE < best and best - value > each.least:
                found.append(f"{each.name}: {peer} {value:.4g} {each.unit}, {best_name} {best:.4g} {each.unit}.")
    return found


def is_ours(way: str) -> bool:
    """Whether this is the gateway or its load balancer."""
    return way.startswith(_OURS) or way in _MODES


def compared(results: Mapping[str, Any]) -> Iterator[Compared]:
    """Each figure that several ways have, with its unit; a result that cannot be read has none."""
    for name, figures in _FIGURES.items():
        if name in results:
            try:
                yield from list(figures(results[name]))
            except (KeyError, TypeError, ValueError):  # another version wrote it, as the benchmark's section says
                continue


def _set_up(document: Mapping[str, Any]) -> Iterator[Compared]:
    ways = document["ways"]
    for delay in next((each["there_ms"] for each in ways.values()), {}):
        medians = {way: each["there_ms"][delay]["median"] for way, each in ways.items()}
        yield Compared(f"Set-up over {delay} ms one way, to the first audio byte at the application", "ms", medians)


def _answers(document: Mapping[str, Any]) -> Iterator[Compared]:
    silence = document["silence_ms"]
    for outage in next(iter(silence.values()), {}):
        medians = {way: each[outage]["median"] for way, each in silence.items()}
        yield Compared(f"Silence in an answer that meets an outage of {outage} s", "ms", medians)


def _moves(document: Mapping[str, Any]) -> Iterator[Compared]:
    for event, ways in document["events"].items():
        gaps = {way: each["gap_ms"]["median"] for way, each in ways.items()}
        yield Compared(f"Longest wait for a frame, {event}", "ms", gaps)
        yield Compared(f"Frames lost, {event}", "frames", {way: each["frames_lost"] for way, each in ways.items()})


def _uplink(document: Mapping[str, Any]) -> Iterator[Compared]:
    for link, ways in document["links"].items():
        whole = {way: each for way, each in ways.items() if each["delivered_percent"] == 100 or is_ours(way)}
        late = {way: each["lateness_ms"]["p99"] for way, each in whole.items()}
        yield Compared(f"Lateness at p99 of all frames, {link}", "ms", late)
        bytes_sent = {way: each["bytes_per_frame"] for way, each in ways.items()}
        yield Compared(f"Bytes for each frame, {link}", "bytes", bytes_sent)
        words = {way: each["words"] for way, each in ways.items() if "words" in each}
        wrong = {way: 100 * each["wrong"] / each["said"] for way, each in words.items()}
        yield Compared(f"Words wrong, {link}", "%", wrong, 1.0)


def _balancing(document: Mapping[str, Any]) -> Iterator[Compared]:
    results = Results.from_document(document)
    for is_batched, backends in ((False, "plain"), (True, "batching")):
        points = {
            name: results.capacity_of(name, Traffic.PLAINTEXT, 200, is_batched=is_batched) for name in results.versions
        }
        costs = {name: point.cpu_ns_per_datagram for name, point in points.items() if point}
        name = f"CPU of the load balancer for a datagram, {backends} backends"
        yield Compared(name, "ns", {name: cost for name, cost in costs.items() if cost is not None})
        idle = {name: results.latency_of(name, None, is_batched=is_batched) for name in results.versions}
        for quantile, label in ((0.5, "p50"), (0.99, "p99")):
            late = {name: point.latency_us(quantile) for name, point in idle.items() if point}
            title = f"Round trip at 1 kpps, {label}, {backends} backends"
            yield Compared(title, "us", {name: each for name, each in late.items() if each is not None})
    last = {run.implementation: run.samples[-1].resident_bytes / 1e6 for run in results.memory if run.samples}
    yield Compared("Resident memory of the load balancer after all client addresses", "MB", last)


def _routing(document: Mapping[str, Any]) -> Iterator[Compared]:
    found = document["implementations"]
    for event, ours in found["quiclb"]["events"].items():
        gaps = {name: each["events"][event]["gap_ms"]["median"] for name, each in found.items()}
        yield Compared(f"Longest wait for a frame, {event}", "ms", gaps, 10.0)
        lost = {name: each["events"][event]["calls"] - each["events"][event]["kept"] for name, each in found.items()}
        yield Compared(f"Calls not kept, {event}", "calls", lost, 0.0)
        if ours["is_restart"]:
            down = {name: each["events"][event]["took_ms"] for name, each in found.items()}
            yield Compared(f"Until it forwards again, {event}", "ms", down)
    memory = {name: each["memory"]["bytes"] for name, each in found.items()}
    yield Compared("Resident memory of the load balancer for a client address", "bytes", memory)


def _capacity(document: Mapping[str, Any]) -> Iterator[Compared]:
    """The servers without codec and agent count, and ours with both; which is the best of ours is found."""
    surveys = {each.server.name: each for each in Findings.from_document(document["findings"]).surveys}

    def of(figure: Callable[[Survey], float]) -> dict[str, float]:
        return {name: figure(each) for name, each in surveys.items()}

    cost = of(lambda each: median(one.cpu_ms_per_session_s for one in each.windows))
    yield Compared("CPU for a second of a session", "ms", cost, 0.1)
    silent = of(lambda each: each.silence.cpu_ms_per_session_s)
    yield Compared("CPU for a second of a silent session", "ms", silent, 0.05)
    late = of(lambda each: median(one.callers.echo_ms.p99 for one in each.windows) if each.server.has_echo else 0.0)
    yield Compared("Echo of a frame, p99", "ms", {name: ms for name, ms in late.items() if ms}, 0.5)
    shakes = {name: each.handshakes for name, each in surveys.items() if each.handshakes.callers.completed}
    cpu_ms = {name: 1000 * each.cpu_s / each.callers.completed for name, each in shakes.items()}
    yield Compared("CPU for a handshake", "ms", cpu_ms, 0.05)
    slopes = {name: ramp_slope(each.ramp) for name, each in surveys.items() if each.ramp}
    memory = {name: slope.per_x / 1000 for name, slope in slopes.items() if slope}
    yield Compared("Memory of a session", "KB", memory, 5.0)


def _league(document: Mapping[str, Any]) -> Iterator[Compared]:
    for condition in dict.fromkeys(each["condition"] for each in document["rows"]):
        rows = {each["implementation"]: each for each in document["rows"] if each["condition"] == condition}
        wrong = {name: 100 * (1 - each["orders_right"] / each["calls"]) for name, each in rows.items()}
        yield Compared(f"Orders that were not right, {condition}", "%", wrong)
        for key, what in (
            ("answer_p50_ms", "Answer at p50"),
            ("silence_ms", "Silence"),
            ("recovery_p50_ms", "Back after the kill"),
        ):
            known = {name: each[key] for name, each in rows.items() if each[key] is not None}
            yield Compared(f"{what}, {condition}", "ms", known, 10.0)
        cpu_ms = {name: 1000 * each["cpu_s_per_call_s"] for name, each in rows.items() if each.get("cpu_s_per_call_s")}
        if cpu_ms:
            yield Compared(f"CPU for a second of call, agent included, {condition}", "ms", cpu_ms, 1.0)


def _pipelines(document: Mapping[str, Any]) -> Iterator[Compared]:
    figures = {kind: each for kind, each in document["figures"].items() if each["calls"] > each["failed"]}
    for key, what in (
        ("first", "First audible sample"),
        ("silence", "Silence in an answer, 1 s dark"),
        ("stopped", "Answer stops after an interruption"),
    ):
        medians = {kind: each[key][0] for kind, each in figures.items() if each[key][0] != ""}
        yield Compared(f"{what}, Pipecat pipeline", "ms", medians, 10.0)
    for key, what in (("lost in the dark", "Words lost, 1 s dark in them"), ("lost elsewhere", "Words lost elsewhere")):
        yield Compared(f"{what}, Pipecat pipeline", "words", {kind: each[key] for kind, each in figures.items()}, 0.0)


_FIGURES: Final[dict[str, Callable[[Mapping[str, Any]], Iterator[Compared]]]] = {
    "setup_time": _set_up,
    "answering": _answers,
    "moving": _moves,
    "uplink": _uplink,
    "lb": _balancing,
    "routing": _routing,
    "capacity": _capacity,
    "league": _league,
    "pipelines": _pipelines,
}
