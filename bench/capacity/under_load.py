"""Delay, loss and jitter of echoed frames, with few sessions and under load, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from bench.capacity.generator import CallerView
from bench.capacity.runs.survey import LOADED, Survey
from bench.figures import table

_HEADER = (
    "server",
    "sessions",
    "n",
    "there and back, median / p99 ms",
    "not back, %",
    "jitter, median / p99 ms",
    "callers late, p99 ms",
)


def under_load(surveys: Sequence[Survey]) -> str:
    """Two rows for each server that echoes frames: its last window, and the one of `LOADED` times as many sessions."""
    rows: list[list[object]] = []
    for each in surveys:
        if each.server.has_echo:
            rows.append(_row(each.server.name, each.windows[-1].callers))
            rows.append(_row("", each.loaded.callers) if each.loaded else ["", "too many", *[""] * (len(_HEADER) - 2)])
    note = (
        "From when a frame was due to be sent until its echo is there, over loopback; n echoes in one window. What is "
        "not back may be under way at the window's end, or lost. Jitter is that of RFC 3550, section 6.4.1, after each "
        f"echo. The second row of a server has {LOADED} times as many sessions."
    )
    return "\n\n".join(["Delay, loss and jitter under load", table(_HEADER, rows), note])


def _row(name: str, seen: CallerView) -> list[object]:
    missing = max(0, seen.frames_sent - seen.frames_received) / max(1, seen.frames_sent)
    return [
        name,
        seen.sessions,
        seen.echo_ms.n,
        f"{seen.echo_ms.median:.1f} / {seen.echo_ms.p99:.1f}",
        f"{100 * missing:.2f}",
        f"{seen.jitter_ms.median:.2f} / {seen.jitter_ms.p99:.2f}",
        f"{seen.behind_ms.p99:.1f}",
    ]
