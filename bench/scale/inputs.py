"""The model's inputs: figures with their provenance, and assumptions."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FIGURES = HERE / "figures.toml"
ASSUMPTIONS = HERE / "assumptions.toml"


class InputError(ValueError):
    """A file of inputs does not say what the model needs; the text has the key, the rule and the remedy."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value, in `unit`, that `command` measures."""

    value: float
    unit: str
    command: str


class Figures:
    """All figures by name: `figures["handshakes_per_cpu_s"]` is the value."""

    def __init__(self, figures: Mapping[str, Figure]) -> None:
        self.all = dict(figures)

    def __getitem__(self, name: str) -> float:
        return self.all[name].value

    def with_measured(self, path: Path) -> Figures:
        """Take the figures that a result of `make bench-capacity` has in place of these; raises `InputError`."""
        return Figures(self.all | measured_capacity(path))


def load_figures(path: Path = FIGURES) -> Figures:
    """Read figures; raises `InputError`."""
    found = {}
    for name, entry in tomllib.loads(path.read_text()).items():
        if not isinstance(entry, dict) or set(entry) != {"value", "unit", "command"}:
            raise InputError(f"{path.name}: [{name}] needs the keys value, unit and command, and no others")
        if not isinstance(entry["value"], int | float) or entry["value"] <= 0:
            raise InputError(f"{path.name}: {name}.value must be a number above 0, got {entry['value']!r}")
        found[name] = Figure(float(entry["value"]), str(entry["unit"]), str(entry["command"]))
    return Figures(found)


def load_assumptions(path: Path = ASSUMPTIONS) -> dict[str, Any]:
    """Read assumptions: tables of numbers by name, and the list `peer`; raises `InputError` for a table that lacks."""
    document = tomllib.loads(path.read_text())
    for table, entries in tomllib.loads(ASSUMPTIONS.read_text()).items():
        missing = set(entries) - set(document.get(table, ())) if isinstance(entries, dict) else set()
        if missing:
            raise InputError(
                f"{path.name}: [{table}] lacks {', '.join(sorted(missing))}; copy it from assumptions.toml"
            )
    return document


def measured_capacity(path: Path) -> dict[str, Figure]:
    """The figures of a result of `make bench-capacity`, each where the run had it; raises `InputError`."""
    try:
        found = json.loads(path.read_text())["findings"]
        windows, surveys, memory, pair = (found[name] for name in ("windows", "surveys", "memory", "pair"))
    except FileNotFoundError:
        raise InputError(f"--measured {path} does not exist; `make bench-capacity` writes it") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"--measured {path} is no result of `make bench-capacity`: {error!r}") from None
    values: dict[str, float | None] = {"session_cpu_ms_at_16": _median([_cost(each) for each in windows[0]])}
    ours = next((each for each in surveys if each["ramp"] and not each["server"]["has_echo"]), None)
    if ours is not None:
        levels = [each for each in ours["ramp"]["levels"] if each["fault"] is None]
        near = min(levels, key=lambda each: abs(each["sessions"] - 150), default=None)
        handshakes = ours["handshakes"]
        values["session_cpu_ms_at_150"] = _cost(near["window"]) if near and abs(near["sessions"] - 150) < 20 else None
        values["sessions_carried"] = max((each["sessions"] for each in levels), default=None)
        values["silent_session_cpu_ms"] = _cost(ours["silence"])
        values["handshakes_per_cpu_s"] = handshakes["callers"]["completed"] / handshakes["cpu_s"]
    if len(memory) >= 2:
        values["session_kilobytes"] = (memory[-1][1] - memory[0][1]) / (memory[-1][0] - memory[0][0]) / 1e3
    if pair:
        alone, beside = (_median([_cost(each) for each in pair[name]]) for name in ("alone", "beside"))
        values["neighbour_factor"] = beside / alone
    known = load_figures()
    return {name: Figure(value, known.all[name].unit, f"make bench-capacity, {path.name}")
            for name, value in values.items() if value}  # fmt: skip


def _cost(window: Mapping[str, Any]) -> float:
    callers = window["callers"]
    return float(1000 * window["cpu_s"] / callers["seconds"] / max(1, callers["sessions"]))


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
