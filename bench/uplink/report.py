"""The table and the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from bench.figures import table
from bench.uplink.outcome import Outcome
from bench.uplink.spoken.words import Words
from bench.words.score import Score

BASE: Final = "one stream"
HEADER: Final = [
    "link",
    "way",
    "delivered %",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "max ms",
    "bytes, of a stream's",
    "words wrong",
    "if no frame is too late",
]
_LATEST_MS: Final = 4_000
CLEAN_LINK: Final = "no loss"
BUSY_MS: Final = 100.0
"""Over the clean link no way has a reason to be so late at p99, but a machine that has other work."""


@dataclass(frozen=True, slots=True)
class Row:
    """The calls of a way over a link as one, and their words, where they were recognised."""

    outcome: Outcome
    words: Words | None = None


Results = Mapping[str, Mapping[str, Row]]
"""By condition and way."""


def as_table(results: Results) -> str:
    """One row for each link and way."""
    rows: list[list[object]] = []
    for condition, ways in results.items():
        base = ways[BASE].outcome
        for way, row in ways.items():
            outcome = row.outcome
            late = [f"{outcome.late_by(percent):.0f}" for percent in (50, 95, 99, 100)]
            share = outcome.byte_count / outcome.sent / (base.byte_count / base.sent)
            said = [row.words.played, row.words.whole] if row.words else []
            wrong = [f"{each.errors} of {each.words}" for each in said] or ["", ""]
            rows.append([condition, way, f"{outcome.delivered_percent:.2f}", *late, f"{share:.2f}", *wrong])
    return table(HEADER, rows)


def too_busy(results: Results) -> list[str]:
    """The ways for which the machine was too busy."""
    ways = results.get(CLEAN_LINK, {})
    return [way for way, row in ways.items() if row.outcome.late_by(99) > BUSY_MS]


def as_document(results: Results) -> dict[str, Any]:
    """The same figures, for programs."""
    return {condition: {way: _figures(row) for way, row in ways.items()} for condition, ways in results.items()}


def _figures(row: Row) -> dict[str, Any]:
    outcome = row.outcome
    figures: dict[str, Any] = {
        "frames": outcome.sent,
        "delivered_percent": round(outcome.delivered_percent, 3),
        "lateness_ms": {f"p{percent}": round(outcome.late_by(percent), 1) for percent in (50, 95, 99, 100)},
        "bytes_per_frame": round(outcome.byte_count / outcome.sent, 1),
    }
    if row.words:
        figures["words"] = _score(row.words.played)
        figures["words_if_no_frame_is_too_late"] = _score(row.words.whole)
    return figures


def _score(score: Score) -> dict[str, int]:
    return {"said": score.words, "wrong": score.errors, "orders": score.orders, "orders_right": score.right}


def draw(results: Results, path: Path) -> None:
    """For each link, how many frames are later than so much; one that never comes is later than anything."""
    columns = 4
    rows = -(-len(results) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(15, 3.8 * rows), sharex=True, sharey=True, squeeze=False)
    for axes, (condition, ways) in zip(panels.flat, results.items(), strict=False):
        for way, row in ways.items():
            outcome = row.outcome
            ordered = sorted(outcome.lateness_ms)
            later = [100 * (outcome.sent - index) / outcome.sent for index in range(len(ordered))]
            left = 100 - outcome.delivered_percent
            ends = ([*ordered, _LATEST_MS], [*later, left]) if left > 0 else (ordered, later)
            style = {"hybrid": {"linewidth": 2.4, "zorder": 5}}.get(way, {"linewidth": 1.2})
            axes.step(*ends, where="post", label=way, **style)
        axes.set_title(condition, fontsize="medium")
        axes.set_xscale("symlog", linthresh=10)
        axes.set_xlim(0, _LATEST_MS)
        axes.set_yscale("log")
        axes.set_ylim(0.01, 100)
        axes.grid(alpha=0.3)
    for axes in panels.flat[len(results) :]:
        axes.axis("off")
    panels.flat[0].legend(fontsize="x-small")
    figure.supxlabel("ms later than the link's 50 ms")
    figure.supylabel("% of frames later than that, or lost")
    figure.suptitle("An uplink of 20 ms frames over 50 ms one way and up to 30 ms of jitter")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
