"""What sessions and handshakes cost one server, and how many sessions it carries."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from bench.capacity.generator import Handshakes
from bench.capacity.lab import Lab, opened, say
from bench.capacity.measure import Spread, Window, window
from bench.capacity.runs.ramp import Ramp, ramp
from bench.capacity.servers.server import Server, Usage


@dataclass(frozen=True, slots=True)
class Handshaking:
    """Connections opened and closed again, and the CPU seconds of the server meanwhile."""

    callers: Handshakes
    cpu_s: float

    @property
    def per_core_s(self) -> float:
        """Handshakes that a second of CPU is good for."""
        return self.callers.completed / self.cpu_s if self.cpu_s else 0.0


@dataclass(frozen=True, slots=True)
class Survey:
    """One server in the comparison."""

    server: Server
    idle_bytes: int
    windows: tuple[Window, ...]
    silence: Window
    handshakes: Handshaking
    ramp: Ramp | None


def survey(lab: Lab, server: Server, pattern: Path, sessions: int, *, has_ramp: bool) -> Survey:
    """Measure what `sessions` cost, what as many cost that only listen, handshakes, and how many a core carries."""
    with lab.serving(server) as pid:
        idle_bytes = Usage.of(pid).resident_bytes
        with lab.calling(server, pattern) as generator:
            opened(server, generator.grow(sessions, lab.ramp_s))
            time.sleep(lab.settle_s)
            windows = tuple(window(generator, pid, lab.server_core, 5.0) for _ in range(lab.repeats))
        with lab.calling(server, pattern, is_silent=True) as generator:
            opened(server, generator.grow(sessions, lab.ramp_s))
            silence = window(generator, pid, lab.server_core, 5.0)
        with lab.calling(server, pattern) as generator:
            before = Usage.of(pid)
            callers = generator.handshakes(4, lab.handshakes_s)
            handshaking = Handshaking(callers, Usage.of(pid).cpu_s - before.cpu_s)
        cost = Spread.of([each.cpu_ms_per_session_s for each in windows])
        say(f"{server.name}: {cost.text()} ms per session and second, {handshaking.per_core_s:.0f} handshakes a core")
        expected = 1000 / max(0.5, cost.median)
        carried = ramp(lab, server, pid, pattern, expected) if has_ramp else None
    return Survey(server, idle_bytes, windows, silence, handshaking, carried)
