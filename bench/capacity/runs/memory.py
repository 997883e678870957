"""Resident memory by sessions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from bench.capacity.lab import Lab, opened
from bench.capacity.measure import Slope
from bench.capacity.servers.server import Server, Usage

MEMORY_SESSIONS = (20, 45, 70, 95, 120)


def memory(lab: Lab, server: Server, pattern: Path) -> list[tuple[int, int]]:
    """Return (sessions, resident bytes) at each of `MEMORY_SESSIONS`; `pattern` has to be one that a core can carry."""
    points: list[tuple[int, int]] = []
    with lab.serving(server) as pid, lab.calling(server, pattern) as generator:
        for sessions in MEMORY_SESSIONS:
            more = sessions - (points[-1][0] if points else 0)
            opened(server, generator.grow(more, lab.ramp_s))
            time.sleep(2 * lab.settle_s)
            points.append((sessions, Usage.of(pid).resident_bytes))
    return points


def memory_slope(points: Sequence[tuple[int, int]]) -> Slope:
    """Bytes per session."""
    return Slope.of([(float(sessions), float(resident)) for sessions, resident in points])
