"""Percentiles, tables and results, the same way in every benchmark."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
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


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def save(name: str, document: Mapping[str, Any], markdown: str, *, is_shown: bool = True) -> Path:
    """Write `NAME.json` and `NAME.md` under bench/results, print the table, and return the table's path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "kernel": platform.release(), "machine": platform.machine()}
    made = {"commit": commit(), "machine": {**machine, "cpu": _cpu(), "cores": os.cpu_count()}}
    (RESULTS / f"{name}.json").write_text(json.dumps({**made, **document}, indent=2) + "\n")
    path = RESULTS / f"{name}.md"
    path.write_text(markdown + "\n")
    if is_shown:
        print(markdown)
    return path


def commit() -> str:
    """The commit that is measured, with `-dirty` where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    return found.stdout.strip()


def saved(name: str) -> dict[str, Any]:
    """What `save` wrote at this commit, for a run that goes on; empty where there is nothing of it."""
    path = RESULTS / f"{name}.json"
    document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return document if document.get("commit") == commit() else {}
