"""The results that benchmarks left, and which of them are of the present commit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

LOG: Final = "runs.json"
"""When each benchmark was run by `make bench`, and of which commit."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a benchmark by `make bench`; one that failed has `-failed` behind its commit."""

    commit: str
    is_quick: bool
    seconds: float


def read_results(folder: Path) -> dict[str, Any]:
    """By name, the JSON of each benchmark; what cannot be read is left out, as is the log of runs."""
    found: dict[str, Any] = {}
    for path in [*sorted(folder.glob("*.json")), *sorted(folder.glob("*/results.json"))]:
        if path.name == LOG:
            continue
        try:
            document = json.loads(path.read_text())
        except ValueError:
            continue
        if isinstance(document, dict):
            found[path.parent.name if path.name == "results.json" else path.stem] = document
    return found


def read_runs(folder: Path) -> dict[str, Run]:
    """By benchmark, its last run; empty where there is no log or it cannot be read."""
    try:
        return {name: Run(**each) for name, each in json.loads((folder / LOG).read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_runs(folder: Path, runs: Mapping[str, Run]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LOG).write_text(json.dumps({name: asdict(run) for name, run in runs.items()}, indent=2) + "\n")


def is_current(run: Run | None, commit: str, *, is_quick: bool, has_result: bool) -> bool:
    """Whether a benchmark need not run again: a full run also does where a quick one is asked for.

    Nothing is current where the tree has uncommitted changes, or git does not say which commit it is.
    """
    if run is None or not has_result or not _is_named(commit) or run.commit != commit:
        return False
    return is_quick or not run.is_quick


def is_longer(run: Run | None, document: Mapping[str, Any] | None, commit: str, options: Sequence[str]) -> bool:
    """Whether a result of this commit is of the benchmark's own command, where `make bench` would write a quick one.

    A result that `make bench` saw fail does not count: it is in the log as failed.
    """
    if "--quick" not in options or document is None or document.get("is_quick"):
        return False
    if run is not None and run.commit.startswith(commit):
        return False
    return _is_named(commit) and document.get("commit") == commit


def _is_named(commit: str) -> bool:
    return bool(commit) and not commit.endswith("-dirty")
