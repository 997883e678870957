"""The table of all events, and a picture of the gaps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from bench.figures import RESULTS, percentile, save, table
from bench.survival.calls import ONE_WAY_S, Outcome
from voice_gateway.session.stats.uplink_statistics import LARGEST_GAPS

_HEADER = ["event", "calls", "times", "gap median ms", "gap p99 ms", "frames lost", "words lost", "order kept"]


@dataclass(frozen=True, slots=True)
class Result:
    """All calls of one row; the event happened `times` times, to several calls at once where these are more."""

    name: str
    times: int
    is_control: bool
    is_way_open: bool
    outcomes: Sequence[Outcome]

    @property
    def gaps_ms(self) -> list[float]:
        return [each.gap_ms for each in self.outcomes if each.gap_ms is not None]

    @property
    def resumes_ms(self) -> list[float]:
        return [each.resume_ms for each in self.outcomes if each.resume_ms is not None]

    @property
    def is_as_it_must_be(self) -> bool:
        """Whether nothing was lost; the control must lose."""
        is_whole = all(
            each.frames_lost == each.words_lost == 0 and each.is_order_kept and each.fault is None
            for each in self.outcomes
        )
        return is_whole is not self.is_control

    def cells(self) -> list[object]:
        kept = sum(each.is_order_kept for each in self.outcomes)
        return [
            self.name,
            len(self.outcomes),
            self.times,
            *(f"{percentile(self.gaps_ms, percent):,.0f}" if self.gaps_ms else "-" for percent in (50, 99)),
            sum(each.frames_lost for each in self.outcomes),
            sum(each.words_lost for each in self.outcomes),
            f"{kept} of {len(self.outcomes)}",
        ]


def read() -> list[Result]:
    """What an earlier run has written, if any."""
    try:
        events = json.loads((RESULTS / "survival.json").read_text())["events"]
    except FileNotFoundError:
        return []
    return [
        Result(
            name, each["times"], each["is_control"], each["is_way_open"], [Outcome(**call) for call in each["calls"]]
        )
        for name, each in events.items()
    ]


def write(results: Sequence[Result]) -> None:
    """Write `survival.md`, `survival.json` and `survival.png` under bench/results, and print the table."""
    round_trip_ms = 2000 * ONE_WAY_S
    lines = [f"What calls lose, {round_trip_ms:g} ms round trip, 20 ms frames", "", table(_HEADER, _rows(results)), ""]
    lines += [note for result in results for note in unmeasured(result)]
    lines += [_resumes(result, round_trip_ms) for result in results if result.is_way_open and result.resumes_ms]
    document: dict[str, Any] = {
        "round_trip_ms": round_trip_ms,
        "events": {
            result.name: {
                "times": result.times,
                "is_control": result.is_control,
                "is_way_open": result.is_way_open,
                "calls": [asdict(each) for each in result.outcomes],
            }
            for result in results
        },
    }
    save("survival", document, "\n".join(lines))
    _draw(results)


def _rows(results: Sequence[Result]) -> list[list[object]]:
    return [result.cells() for result in results]


def unmeasured(result: Result) -> list[str]:
    """Say how many calls of a row have no gap in its median and p99, where some have none; a control has few."""
    missing = len(result.outcomes) - len(result.gaps_ms)
    if not missing or result.is_control:
        return []
    return [
        f"- {result.name}: {missing} of {len(result.outcomes)} calls have no gap in the table; a worker keeps the "
        f"{LARGEST_GAPS} longest of a call, and none of these was at the event"
    ]


def _resumes(result: Result, round_trip_ms: float) -> str:
    median, p99 = (percentile(result.resumes_ms, percent) / round_trip_ms for percent in (50, 99))
    return (
        f"- {result.name}: {len(result.resumes_ms)} calls went on over a new connection; from the first packet to "
        f"`ready` it took {median:.1f} round trips (median), {p99:.1f} (p99)"
    )


def _draw(results: Sequence[Result]) -> None:
    shown = [result for result in results if result.gaps_ms]
    if not shown:
        return
    figure, axes = plt.subplots(figsize=(9, 0.5 + 0.42 * len(shown)), layout="constrained")
    for row, result in enumerate(reversed(shown)):
        gaps = sorted(result.gaps_ms)
        axes.plot(gaps, [row] * len(gaps), "o", markersize=4, alpha=0.35, color="tab:blue", markeredgewidth=0)
        axes.plot(percentile(gaps, 50), row, "|", markersize=16, markeredgewidth=2, color="black")
    axes.set_yticks(range(len(shown)), [result.name for result in reversed(shown)])
    axes.set_xscale("log")
    axes.set_xlabel("longest time in which no frame of the call arrived, ms (bar: median)")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(RESULTS / "survival.png", dpi=120)
    plt.close(figure)
