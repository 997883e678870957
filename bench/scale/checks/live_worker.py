"""A real worker on a core of its own: what sessions cost at several levels, and handshakes beside live sessions."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.capacity import generator
from bench.capacity.lab import Lab, opened, say
from bench.capacity.measure import window
from bench.capacity.servers.server import Server, Usage, core_busy_s
from bench.capacity.servers.worker import ROOT, worker
from bench.capacity.traffic import CONVERSATION
from bench.lb.machine import raise_file_limit, raise_priority

CONCURRENCY = 16
"""Handshakes that are under way at a time: enough that the worker is never without one."""
_WINDOW_S = 5.0


@dataclass(frozen=True, slots=True)
class Level:
    """So many sessions on one worker; `others` is the share of its core that went to other processes."""

    sessions: int
    cpu_ms_per_session_s: float
    callers_ms_per_session_s: float
    pong_p99_ms: float
    others: float


@dataclass(frozen=True, slots=True)
class HandshakesBeside:
    """Handshakes without a pause beside so many live sessions, which had their pongs so late meanwhile."""

    sessions: int
    handshakes_per_s: float
    worker_cpu_share: float
    pong_p99_ms: float
    others: float


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """All that was measured, at one worker and in one run."""

    levels: tuple[Level, ...]
    storms: tuple[HandshakesBeside, ...]

    @property
    def others(self) -> float:
        """The largest share of the worker's core that other processes had: above 5 % times say nothing."""
        return max([each.others for each in self.levels] + [each.others for each in self.storms])


def measure(levels: Sequence[int], storms: Sequence[int]) -> LiveWorker:
    """Start a worker and callers; raises `GeneratorError` where the callers cannot be built (they need cargo)."""
    raise_file_limit()
    raise_priority(is_realtime=False)
    cache = ROOT / ".capacity"
    cache.mkdir(exist_ok=True)
    program = generator.build(cache / "native")
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        lab = Lab.of_this_machine(program, folder, is_quick=True)
        pattern = CONVERSATION.write(folder / "conversation")
        server = worker(ROOT, "one worker", folder)
        with lab.serving(server) as pid:
            return LiveWorker(
                tuple(_level(lab, server, pid, pattern, each) for each in levels),
                tuple(_storm(lab, server, pid, pattern, each) for each in storms),
            )


def _level(lab: Lab, server: Server, pid: int, pattern: Path, sessions: int) -> Level:
    with lab.calling(server, pattern) as callers:
        opened(server, callers.grow(sessions, 5.0))
        time.sleep(lab.settle_s)
        seen = window(callers, pid, lab.server_core, _WINDOW_S)
    callers_ms = 1000 * seen.callers.cpu_s / seen.callers.seconds / sessions
    found = Level(sessions, seen.cpu_ms_per_session_s, callers_ms, seen.callers.pong_ms.p99, seen.others)
    say(f"{found}")
    return found


def _storm(lab: Lab, server: Server, pid: int, pattern: Path, sessions: int) -> HandshakesBeside:
    with lab.calling(server, pattern) as callers, lab.calling(server, pattern) as storm:
        if sessions:
            opened(server, callers.grow(sessions, 5.0))
        time.sleep(lab.settle_s)
        before, busy_s = Usage.of(pid), core_busy_s(lab.server_core)
        callers.begin()
        made = storm.handshakes(CONCURRENCY, _WINDOW_S)
        view = callers.end()
        cpu_s = Usage.of(pid).cpu_s - before.cpu_s
        others = max(0.0, core_busy_s(lab.server_core) - busy_s - cpu_s) / made.seconds
    found = HandshakesBeside(
        sessions, made.completed / made.seconds, cpu_s / made.seconds, view.pong_ms.p99, min(1.0, others)
    )
    say(f"{found}")
    return found
