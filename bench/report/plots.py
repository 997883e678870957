"""Pictures of what the benchmarks with peers found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from bench.report.advantages import is_ours


def draw(results: Mapping[str, Any], folder: Path) -> list[str]:
    """Write a picture for each benchmark that is there, and return their names."""
    pictures: dict[str, Callable[[Any, Axes], None]] = {
        "setup_time": _draw_set_up,
        "answering": _draw_answers,
        "moving": _draw_moves,
    }
    names = []
    for benchmark, paint in pictures.items():
        if benchmark not in results:
            continue
        figure, axes = plt.subplots(figsize=(10, 4.2), layout="constrained")
        paint(results[benchmark], axes)
        name = f"report-{benchmark}.png"
        figure.savefig(folder / name, dpi=110)
        plt.close(figure)
        names.append(name)
    if (folder / "uplink.png").exists() and "uplink" in results:
        names.append("uplink.png")
    return names


def _draw_set_up(document: Mapping[str, Any], axes: Axes) -> None:
    ways = document["ways"]
    trips = [each["round_trips"]["there"] for each in ways.values()]
    axes.barh(list(ways), trips, color=[_colour(way) for way in ways])
    axes.invert_yaxis()
    axes.set_xlabel("round trips from the start of a call to its first audio byte at the application")


def _draw_answers(document: Mapping[str, Any], axes: Axes) -> None:
    silence = document["silence_ms"]
    _groups(axes, {way: {f"{k} s": v["median"] for k, v in each.items()} for way, each in silence.items()})
    axes.set_xlabel("outage")
    axes.set_ylabel("silence in 8 s of speech, ms")


def _draw_moves(document: Mapping[str, Any], axes: Axes) -> None:
    events = document["events"]
    ways = next(iter(events.values()))
    _groups(axes, {way: {event: events[event][way]["gap_ms"]["median"] for event in events} for way in ways})
    axes.set_ylabel("longest wait for a frame, ms")
    axes.set_yscale("symlog", linthresh=100)


def _groups(axes: Axes, figures: Mapping[str, Mapping[str, float]]) -> None:
    width = 0.8 / len(figures)
    for index, (way, values) in enumerate(figures.items()):
        places = [place + index * width for place in range(len(values))]
        axes.bar(places, list(values.values()), width, label=way)
    names = list(next(iter(figures.values())))
    axes.set_xticks([place + 0.4 - width / 2 for place in range(len(names))], names)
    axes.legend(fontsize="small")
    axes.grid(axis="y", alpha=0.3)


def _colour(way: str) -> str:
    return "tab:blue" if is_ours(way) else "tab:gray"
