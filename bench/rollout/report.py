"""What a rolling update did to calls, and what was seen of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.figures import save, summary, table
from bench.rollout.callers import Outcome
from bench.rollout.prometheus import Evaluations


@dataclass(frozen=True, slots=True)
class Rollout:
    """One rolling update. `ended_s` is how long each worker took from leaving the DNS to its end."""

    workers: int
    balancers: int
    seconds: float
    ended_s: Sequence[float]
    outcomes: Sequence[Outcome]
    caller_late_ms: Sequence[float]
    answers_ms: Mapping[str, Sequence[float]]
    unanswered: Mapping[str, int]
    failed_probes: int
    evaluations: Evaluations

    @property
    def gaps_ms(self) -> list[float]:
        return [gap for each in self.outcomes for gap in each.gaps_ms]

    def gaps_by_cause(self) -> dict[str, list[float]]:
        """The gaps of moves that a draining worker asked for, and of those that the caller began by itself."""
        found: dict[str, list[float]] = {"worker": [], "caller": []}
        for each in self.outcomes:
            for gap_ms, cause in zip(each.gaps_ms, each.causes, strict=False):
                found["worker" if cause == "drain" else "caller"].append(gap_ms)
        return found

    def faults(self) -> list[str]:
        """Say what must not be."""
        lost = [each for each in self.outcomes if each.fault is not None]
        found = [f"a session was lost: {each.fault}" for each in lost]
        if words := sum(each.words_lost for each in self.outcomes):
            found.append(f"{words} words were lost")
        if frames := sum(each.frames_lost for each in self.outcomes):
            found.append(f"{frames} frames were lost")
        found += [f"the query of {name!r} never had a value" for name in self.evaluations.never_filled]
        found += [f"the alert {name} fired" for name in sorted(self.evaluations.firing)]
        if not self.gaps_ms:
            found.append("no call moved: the update was not under calls")
        return found


def write(result: Rollout, *, is_quick: bool) -> None:
    """Write `rollout.json` and `rollout.md` under bench/results (`rollout-quick` for a quick one), and print it."""
    outcomes, evaluations = result.outcomes, result.evaluations
    lost = sum(each.fault is not None for each in outcomes)
    gaps = summary(result.gaps_ms) if result.gaps_ms else {}
    ended = summary(result.ended_s)
    late = summary(result.caller_late_ms)
    by_cause = {cause: summary(each) if each else {} for cause, each in result.gaps_by_cause().items()}
    rows: list[tuple[str, object]] = [
        ("calls", len(outcomes)),
        ("sessions lost", lost),
        ("words said / lost", f"{_sum(outcomes, 'words_said')} / {_sum(outcomes, 'words_lost')}"),
        ("frames sent / lost", f"{_sum(outcomes, 'frames_sent'):,} / {_sum(outcomes, 'frames_lost')}"),
        ("moves of a call to another worker", len(result.gaps_ms)),
        ("gap of a move, median / p99 / longest, ms", _spread(gaps)),
        *((f"of those that the {cause} began", _counted(figures)) for cause, figures in by_cause.items()),
        ("end of a worker, from the DNS to its exit, median / longest, s", f"{ended['median']} / {ended['max']}"),
        ("dashboard queries with a value each time", f"{evaluations.always_filled} of {evaluations.queries}"),
        ("times the dashboard was evaluated", evaluations.asked),
        ("a query took, median / p99 / longest, ms", _spread(summary(evaluations.took_ms))),
        ("readiness probes that failed", result.failed_probes),
        ("the callers' event loop was late, median / p99 / longest, ms", _spread(late)),
    ]
    answers = [
        [path, figures["n"], figures["median"], figures["p99"], figures["max"], result.unanswered.get(path, 0)]
        for path, figures in ((path, summary(times)) for path, times in result.answers_ms.items())
    ]
    faults = result.faults()
    title = (
        f"A rolling update of {result.workers} workers behind {result.balancers} load balancers "
        f"in {result.seconds:.0f} s, rendered by Helm, on loopback"
    )
    lines = [
        title,
        "",
        table(["what", "figure"], rows),
        "",
        table(["page", "n", "median ms", "p99 ms", "longest ms", "no answer"], answers),
        "",
        *([f"- without a value at some time: {name} ({n} times)" for name, n in sorted(evaluations.empty.items())]),
        *(f"- {fault}" for fault in faults or ["nothing was lost"]),
    ]
    document: dict[str, Any] = {
        "workers": result.workers,
        "balancers": result.balancers,
        "seconds": round(result.seconds, 1),
        "sessions_lost": lost,
        "gap_ms": gaps,
        "gap_ms_by_cause": by_cause,
        "gaps_ms": [round(each, 1) for each in result.gaps_ms],
        "ended_s": [round(each, 1) for each in result.ended_s],
        "answers_ms": {path: summary(times) for path, times in result.answers_ms.items()},
        "unanswered": dict(result.unanswered),
        "failed_probes": result.failed_probes,
        "queries": evaluations.queries,
        "queries_always_filled": evaluations.always_filled,
        "queries_empty": dict(evaluations.empty),
        "queries_nan": dict(evaluations.nan),
        "evaluations": evaluations.asked,
        "query_ms": summary(evaluations.took_ms),
        "caller_late_ms": late,
        "words": {"said": _sum(outcomes, "words_said"), "lost": _sum(outcomes, "words_lost")},
        "frames": {"sent": _sum(outcomes, "frames_sent"), "lost": _sum(outcomes, "frames_lost")},
        "faults": faults,
    }
    save("rollout-quick" if is_quick else "rollout", document, "\n".join(lines))


def _sum(outcomes: Sequence[Outcome], name: str) -> int:
    return sum(getattr(each, name) for each in outcomes)


def _counted(figures: Mapping[str, float | int]) -> str:
    return f"{figures.get('n', 0)}: {_spread(figures)}"


def _spread(figures: Mapping[str, float | int]) -> str:
    if not figures:
        return "-"
    return f"{figures['median']:,} / {figures['p99']:,} / {figures['max']:,}"
