"""Calls that lost a worker, load balancer, store, agent host or vendor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.figures import percentile, table

_COUNTED: Final = (
    "failed",
    "words lost",
    "effects under a second key",
    "wrong transcripts",
    "wrong states",
)


def survival(document: Mapping[str, Any]) -> str:
    """One row for each event; a control must lose."""
    rows = []
    for name, event in document["events"].items():
        calls = event["calls"]
        gaps = [call["gap_ms"] for call in calls if call["gap_ms"] is not None]
        rows.append(
            [
                name + (", control" if event["is_control"] else ""),
                f"{len(calls)} ({event['times']})",
                *(f"{percentile(gaps, percent):,.0f}" if gaps else "-" for percent in (50, 99)),
                *(sum(call[key] for call in calls) for key in ("frames_lost", "words_lost")),
            ]
        )
    header = ["event", "calls (times)", "longest wait for a frame, ms: median", "p99", "frames lost", "words lost"]
    return f"Round trip {document['round_trip_ms']:g} ms.\n\n{table(header, rows)}"


def agents(document: Mapping[str, Any]) -> str:
    """One row for each way to bring an agent and part that was killed; the ways' undisturbed calls are left out."""
    rows = [
        [each["way"], f"{each['killed']} {each['place']}", *_cells(each, each["silence_ms"])]
        for each in document["cells"]
        if each["killed"]
    ]
    header = ["way", "killed", "calls (kills)", *_COUNTED, "silence ms: median", "p99"]
    note = (
        "Silence is the longest one after the later of the kill and the end of the caller's speech. The way without "
        "store and the one without journal are controls, which must lose words or double effects."
    )
    return f"{note}\n\n{table(header, rows)}"


def hosts(document: Mapping[str, Any]) -> str:
    """One row for each point of a turn, and how late calls were beside a host that stands still."""
    rows = [
        [
            each["point"].replace("_", " ") + (f", control: {each['setting']}" if each["setting"] else ""),
            *_cells(each, each["gap_ms"]),
        ]
        for each in document["cells"]
    ]
    parts = []
    if rows:
        header = ["host killed", "calls (kills)", *_COUNTED, "gap ms: median", "p99"]
        parts.append(f"The gap is until the next host has the call.\n\n{table(header, rows)}")
    late = [[name, *(each[key] for key in ("n", "median", "p99", "max"))] for name, each in document["blocked"].items()]
    if late:
        header = ["50 calls: a frame's way to the agent and back", "n", "median ms", "p99 ms", "max ms"]
        parts.append(table(header, late))
    return "\n\n".join(parts)


def _cells(each: Mapping[str, Any], spread: Mapping[str, Any] | None) -> list[object]:
    times = [spread["median"], spread["p99"]] if spread else ["-", "-"]
    return [f"{each['calls']} ({each['kills']})", *(each[key] for key in _COUNTED), *times]
