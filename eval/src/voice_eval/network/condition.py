"""A network condition: how each direction of a link is, and what happens on it after the caller's first word."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from voice_eval.errors import ScenarioError
from voice_eval.network.trace import Trace, load_trace
from voice_eval.scenario.loading import load_yaml, validated

CLEAN = "clean"
"""The condition that all others are compared with."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Bursts(_Part):
    """Spells in which each packet is lost: a share of the time, in spells of this mean length."""

    share: float = Field(gt=0, lt=1)
    mean_ms: float = Field(gt=0, le=60_000)


class Direction(_Part):
    """One direction of the link."""

    delay_ms: float = Field(default=0.0, ge=0, le=10_000)
    jitter_ms: float = Field(default=0.0, ge=0, le=10_000)
    """Up to so much more, uniform; the order is kept."""
    loss: float = Field(default=0.0, ge=0, lt=1)
    """The share of packets lost, each by itself."""
    bursts: Bursts | None = None
    rate_kbit: float | None = Field(default=None, gt=0)
    queue_ms: float = Field(default=300.0, gt=0)
    """How long a packet may wait for the rate before it is dropped."""


class Span(_Part):
    """Nothing passes, in either direction; `at_ms` counts from the caller's first word."""

    at_ms: float = Field(ge=0)
    for_ms: float = Field(gt=0)
    every_ms: float | None = Field(default=None, gt=0)
    """Again and again, so far apart."""

    @model_validator(mode="after")
    def _apart(self) -> Span:
        if self.every_ms is not None and self.every_ms <= self.for_ms:
            raise ValueError("every_ms must be longer than for_ms")
        return self


class Condition(_Part):
    """A named condition of the network between caller and server."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    description: str = ""
    up: Direction = Direction()
    down: Direction | None = None
    """As `up` where it is not given."""
    blackouts: tuple[Span, ...] = ()
    new_address_ms: tuple[float, ...] = ()
    """When the caller's address changes, after the first word: a NAT's new port; a TCP connection dies with it."""
    trace: str | None = None
    """A trace file beside the file of the condition, in place of delay, loss and rate."""


def load_trace_of(condition: Condition, folder: Path) -> Trace | None:
    """Read the trace that a condition names."""
    return None if condition.trace is None else load_trace(folder / condition.trace)


def bundled_conditions() -> dict[str, Condition]:
    """Return the conditions of the package by name, in the order of their file."""
    return conditions_in(Path(str(resources.files("voice_eval"))) / "network" / "conditions.yaml")


def conditions_in(path: Path) -> dict[str, Condition]:
    """Read a file with a list of conditions; raises `ScenarioError`."""
    document: Any = load_yaml(path)
    if not isinstance(document, list):
        raise ScenarioError(f"{path}: give a list of conditions, each with a name")
    found = [validated(Condition, each, f"{path}: [{number}]") for number, each in enumerate(document)]
    return {each.name: each for each in found}


def choose_conditions(names: Iterable[str], extra: Iterable[Path] = ()) -> list[tuple[Condition, Trace | None]]:
    """Return conditions by name, `all` for each of the package, or a trace file by its path; raises `ScenarioError`."""
    known: dict[str, tuple[Condition, Trace | None]] = {
        name: (each, None) for name, each in bundled_conditions().items()
    }
    for path in extra:
        for name, each in conditions_in(path).items():
            known[name] = (each, load_trace_of(each, path.parent))
    chosen: dict[str, tuple[Condition, Trace | None]] = {}
    for name in names:
        if name == "all":
            chosen |= {each: known[each] for each in known if each != CLEAN}
        elif name in known:
            chosen[name] = known[name]
        elif Path(name).is_file():
            label = "trace-" + "".join(each if each.isalnum() else "-" for each in Path(name).stem.lower()).strip("-")
            chosen[label] = (Condition(name=label, description=f"trace {Path(name).name}"), load_trace(Path(name)))
        else:
            raise ScenarioError(f"condition {name!r} is unknown: use {', '.join(known)}, all, or a trace file")
    return list(chosen.values())
