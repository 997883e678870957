"""Two workers at a time, on two cores."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench.capacity.generator import Generator
from bench.capacity.lab import Lab, opened, say
from bench.capacity.measure import Spread, Window, window
from bench.capacity.runs.alternation import ratios
from bench.capacity.runs.ramp import MAX_LEVELS, too_many
from bench.capacity.servers.server import Server, Usage


@dataclass(frozen=True, slots=True)
class PairLevel:
    """As many sessions at each of two workers."""

    sessions_each: int
    windows: tuple[Window, Window]
    fault: str | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two workers on two cores.

    `alone` and `beside` are the CPU of the first one, with the second idle and with as many sessions at the second.
    `shares_cores` says that the generators ran on the same two cores, for want of others.
    """

    alone: tuple[Window, ...]
    beside: tuple[Window, ...]
    levels: tuple[PairLevel, ...]
    shares_cores: bool

    @property
    def slowdown(self) -> Spread:
        """What a session costs beside a second worker, by what it costs alone."""
        return ratios(self.beside, self.alone)

    @property
    def carried(self) -> int:
        """Sessions at both together, at the highest level without fault."""
        return 2 * max((each.sessions_each for each in self.levels if each.fault is None), default=0)


def pair(lab: Lab, kinds: tuple[Server, Server], pattern: Path, sessions: int, expected: float) -> Pair | None:
    """Load two workers at a time; `None` on a machine of one core."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return None
    callers = cores[2:] or cores
    first, second = kinds
    alone: list[Window] = []
    beside: list[Window] = []
    levels: list[PairLevel] = []
    with lab.serving(first, cores[0]) as pid, lab.serving(second, cores[1]) as other:
        for index in range(max(2, lab.rounds // 2)):
            for has_second in (False, True) if index % 2 == 0 else (True, False):
                with (
                    lab.calling(first, pattern, cores=callers) as generator,
                    lab.calling(second, pattern, cores=callers) as beside_it,
                ):
                    opened(first, generator.grow(sessions, lab.ramp_s))
                    if has_second:
                        opened(second, beside_it.grow(sessions, lab.ramp_s))
                    time.sleep(lab.settle_s)
                    (beside if has_second else alone).append(window(generator, pid, cores[0], 5.0))
        step = max(2, round(lab.step * expected))
        more = max(4, round(lab.first * expected))
        with (
            lab.calling(first, pattern, cores=callers) as generator,
            lab.calling(second, pattern, cores=callers) as beside_it,
        ):
            while len(levels) < MAX_LEVELS:
                level = _pair_level(lab, (first, second), (generator, beside_it), (pid, other), more)
                levels.append(level)
                say(f"two workers: {level.sessions_each} sessions each, {level.fault or 'carried'}")
                if level.fault is not None:
                    break
                more = step
    return Pair(tuple(alone), tuple(beside), tuple(levels), callers == cores)


def _pair_level(
    lab: Lab, kinds: tuple[Server, Server], callers: tuple[Generator, Generator], pids: tuple[int, int], more: int
) -> PairLevel:
    grown = [each.grow(more, more / 8) for each in callers]
    for _ in range(2):
        time.sleep(1.0)
        usages = [Usage.of(pid) for pid in pids]
        callers[0].begin()
        callers[1].begin()
        time.sleep(5.0)
        seen = [each.end() for each in callers]
        windows = []
        for before, pid, view in zip(usages, pids, seen, strict=True):
            after = Usage.of(pid)
            system_s = after.system_s - before.system_s
            windows.append(Window(after.cpu_s - before.cpu_s, system_s, after.resident_bytes, 0.0, view))
        faults = [too_many(*each) for each in zip(kinds, grown, windows, strict=True)]
        fault = next((each for each in faults if each), None)
        if fault is None:
            break
    return PairLevel(grown[0].sessions + grown[0].failed, (windows[0], windows[1]), fault)
