"""How many sessions a core carries."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from bench.capacity.generator import Grown, Quantiles
from bench.capacity.lab import Lab, say
from bench.capacity.measure import Window, window
from bench.capacity.servers.server import Server

LATE_MS = 20.0
"""A core is full where 1 of 100 frames comes back later than this, beyond the server's `delay_ms`: one packet time."""
MISSING = 0.03
BEHIND_MS = 10.0
"""A generator this late at p99 has no core of its own left, and says nothing about the server."""
MAX_LEVELS = 16


@dataclass(frozen=True, slots=True)
class Level:
    """A number of sessions, and whether the server carried them."""

    sessions: int
    window: Window
    late: Quantiles
    fault: str | None


@dataclass(frozen=True, slots=True)
class Ramp:
    """More and more sessions, up to the first number that was too many twice in succession."""

    levels: tuple[Level, ...]

    @property
    def carried(self) -> int:
        """The highest number that the server carried; 0 if it was none."""
        return max((each.sessions for each in self.levels if each.fault is None), default=0)

    @property
    def at_most(self) -> int | None:
        """The number that was too many; `None` where the ramp ended before."""
        last = self.levels[-1]
        return last.sessions if last.fault else None


def ramp(lab: Lab, server: Server, pid: int, pattern: Path, expected: float) -> Ramp:
    """Open sessions slowly until their frames, or pongs where utterances are answered, come late: `LATE_MS` at p99.

    `expected` is how many a core should carry by what 16 sessions cost.
    """
    levels: list[Level] = []
    step = max(2, round(lab.step * expected))
    with lab.calling(server, pattern) as generator:
        more = max(4, round(lab.first * expected))
        while len(levels) < MAX_LEVELS:
            grown = generator.grow(more, more / max(8.0, expected / 12))
            for _ in range(2):  # a stall of the machine is no limit of the server: two windows have to agree
                time.sleep(1.0)
                measured = window(generator, pid, lab.server_core, 5.0)
                late = measured.callers.echo_ms if server.has_echo else measured.callers.pong_ms
                fault = too_many(server, grown, measured)
                if fault is None:
                    break
            levels.append(Level(grown.sessions + grown.failed, measured, late, fault))
            say(f"{server.name}: {grown.sessions} sessions, p99 {late.p99:.1f} ms, {fault or 'carried'}")
            if fault is not None:
                break
            more = step
    return Ramp(tuple(levels))


def too_many(server: Server, grown: Grown, measured: Window) -> str | None:
    """Say why a level was too high; `None` where it was not."""
    callers = measured.callers
    late = callers.echo_ms if server.has_echo else callers.pong_ms
    if grown.failed:
        return f"{grown.failed} sessions refused: {grown.reason}"
    if callers.lost:
        return f"{callers.lost} sessions lost: {callers.reason}"
    if callers.behind_ms.p99 >= BEHIND_MS:
        return f"the generator was late itself: {callers.behind_ms.p99:.1f} ms at p99"
    if late.p99 >= LATE_MS + server.delay_ms:
        return f"late: {late.p99:.1f} ms at p99"
    if server.has_echo and callers.frames_received < (1 - MISSING) * callers.frames_sent:
        return f"{callers.frames_sent - callers.frames_received} of {callers.frames_sent} frames did not come back"
    return None
