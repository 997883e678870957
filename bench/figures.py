"""Percentiles, tables and results, the same way in every benchmark."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile; raises `ValueError` where there is no value."""
    if not values:
        raise ValueError("a percentile needs at least one value")
    rank = max(1, math.ceil(len(values) * percent / 100))
    return sorted(values)[rank - 1]


def summary(values: Sequence[float]) -> dict[str, float | int]:
    """n, median, p99 and maximum."""
    return {
        "n": len(values),
        "median": round(percentile(values, 50), 1),
        "p99": round(percentile(values, 99), 1),
        "max": round(max(values), 1),
    }


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def save(name: str, document: Mapping[str, Any], markdown: str) -> Path:
    """Write `NAME.json` and `NAME.md` under bench/results, print the table, and return the table's path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "kernel": platform.release(), "machine": platform.machine()}
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine, **document}, indent=2) + "\n")
    path = RESULTS / f"{name}.md"
    path.write_text(markdown + "\n")
    print(markdown)
    return path
