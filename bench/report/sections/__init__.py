"""What the report says of each benchmark, from its JSON document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.report.sections import balancing, calls, endurance, kills, sizing

Section = Callable[[Mapping[str, Any]], str]

SECTIONS: Final[dict[str, Section]] = {
    "setup_time": calls.set_up,
    "survival": kills.survival,
    "lb": balancing.beside_others,
    "lb-faults": balancing.faults,
    "routing": balancing.routed,
    "capacity": sizing.capacity,
    "league": calls.league,
    "pipelines": calls.pipelines,
    "agents": kills.agents,
    "hosts": kills.hosts,
    "words": calls.words,
    "recording": calls.recording,
    "rollout": endurance.rollout,
    "soak": endurance.soak,
    "attacks": endurance.attacks,
    "scale": sizing.scale,
}
"""By the name of the result. The claims judge the others, which print their own tables."""
