"""Rolling updates, memory over time, and hostile callers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.figures import table


def rollout(document: Mapping[str, Any]) -> str:
    """What calls lost in a rolling update, and the gap of those that moved."""
    gaps = {"all moves": document["gap_ms"]}
    gaps |= {f"begun by the {cause}": each for cause, each in document["gap_ms_by_cause"].items()}
    rows = [[name, *(each[key] for key in ("n", "median", "p99", "max"))] for name, each in gaps.items() if each]
    words, frames = document["words"], document["frames"]
    text = (
        f"{document['workers']} workers behind {document['balancers']} load balancers in {document['seconds']:.0f} s: "
        f"{document['sessions_lost']} sessions lost, {words['lost']} of {words['said']} words, "
        f"{frames['lost']} of {frames['sent']:,} frames; {document['failed_probes']} readiness probes failed; "
        f"{document['queries_always_filled']} of {document['queries']} dashboard queries had a value each time."
    )
    return _with_faults(f"{text}\n\n{table(['gap', 'n', 'median ms', 'p99 ms', 'longest ms'], rows)}", document)


def soak(document: Mapping[str, Any]) -> str:
    """The slope of each process's memory beside its bound."""
    rows = []
    for name, slope in document["slopes"].items():
        mb = document["rss_mb"][name]
        is_above = slope["kb_per_min"] - slope["error_kb_per_min"] > document["bound_kb_per_min"]
        rows.append(
            [
                name,
                f"{mb[0]:.1f} / {max(mb):.1f} / {mb[-1]:.1f}",
                f"{slope['kb_per_min']:+.1f} ± {slope['error_kb_per_min']:.1f}",
                slope["samples"],
                "above the bound" if is_above else "within the bound",
            ]
        )
    header = ["process", "RSS at first / most / at last, MB", "slope, kB a minute (95 %)", "n", ""]
    text = (
        f"{sum(document['calls'].values())} calls in {document['minutes']:g} minutes, {document['frames_lost']} frames "
        f"lost. A slope that is above {document['bound_kb_per_min']:g} kB a minute by more than its error is a fault."
    )
    return _with_faults(f"{text}\n\n{table(header, rows)}", document)


def attacks(document: Mapping[str, Any]) -> str:
    """How late the event loop was, and memory, for each attack."""
    rows = [
        [
            each["name"],
            *(f"{each[key]:.1f}" for key in ("late_p99_ms", "late_max_ms", "own_p99_ms")),
            f"{each['before_mb']:.0f} / {each['after_mb']:.0f}",
            "; ".join(f"{what} {done} of {count}" for what, (done, count) in each["honest"].items()),
        ]
        for each in document["attacks"]
    ]
    header = ["attack", "late p99 ms", "longest", "its own p99", "memory before / after, MB", "honest callers served"]
    text = (
        f"The call beside them lost {document['frames_lost']} frames; {document['tracebacks']} tracebacks in the log."
    )
    return _with_faults(f"{text}\n\n{table(header, rows)}", document)


def _with_faults(text: str, document: Mapping[str, Any]) -> str:
    faults = "\n".join(f"- Fault: {each}" for each in document["faults"])
    return f"{text}\n\n{faults}" if faults else text
