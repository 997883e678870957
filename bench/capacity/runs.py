"""The runs of the benchmark: each starts what it measures, and returns figures."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.capacity import generator as generators
from bench.capacity import layers
from bench.capacity.generator import Generator, GeneratorError, Grown, Handshakes, Quantiles
from bench.capacity.measure import Slope, Spread, Window, window
from bench.capacity.servers import server as servers
from bench.capacity.servers.server import Server, Usage

MEMORY_SESSIONS = (20, 45, 70, 95, 120)
LATE_MS = 20.0
"""A core is full where 1 of 100 frames comes back later than this: one packet time."""
MISSING = 0.03
BEHIND_MS = 10.0
"""A generator this late at p99 has no core of its own left, and says nothing about the server."""
MAX_LEVELS = 16


@dataclass(frozen=True, slots=True)
class Lab:
    """The generator, the cores, and how long things take.

    16 sessions are opened over `ramp_s`; `settle_s` pass before a window of `window_s`, which is whole periods of the
    traffic. A ramp begins at `first` of what a core is expected to carry, and grows by `step` of it.
    """

    program: Path
    folder: Path
    server_core: int
    generator_cores: tuple[int, ...]
    window_s: float = 10.0
    ramp_s: float = 5.0
    settle_s: float = 3.0
    rounds: int = 5
    repeats: int = 3
    profile_s: float = 15.0
    handshakes_s: float = 5.0
    first: float = 0.3
    step: float = 0.1

    @classmethod
    def of_this_machine(cls, program: Path, folder: Path, *, is_quick: bool) -> Lab:
        """The server gets the first core, the generator those that are left."""
        first, *rest = sorted(os.sched_getaffinity(0))
        lab = cls(program, folder, first, tuple(rest) or (first,))
        if not is_quick:
            return lab
        return replace(
            lab,
            window_s=5.0,
            ramp_s=2.0,
            settle_s=1.0,
            rounds=2,
            repeats=2,
            profile_s=5.0,
            handshakes_s=2.0,
            first=0.4,
            step=0.2,
        )

    @contextmanager
    def serving(self, server: Server, core: int | None = None) -> Iterator[int]:
        """Run a server on `core`, the server's unless said otherwise, and return its process ID."""
        log = self.folder / f"{server.address.rpartition(':')[2]}.log"
        with servers.running(server, [self.server_core if core is None else core], log) as pid:
            yield pid

    @contextmanager
    def calling(
        self, server: Server, pattern: Path, *, is_silent: bool = False, cores: Collection[int] | None = None
    ) -> Iterator[Generator]:
        """Run a generator whose calls go to the server."""
        options = (["--silent"] if is_silent else []) + ([] if server.has_echo else ["--utterances"])
        beginning = server.caller or (str(self.program), server.protocol)
        command = [*beginning, server.address, str(pattern), *options]
        with generators.running(command, cores or self.generator_cores, self.folder) as generator:
            yield generator

    def measure(self, server: Server, pid: int, pattern: Path, sessions: int, *, is_silent: bool = False) -> Window:
        """Open sessions, let them settle, measure one window, and close them."""
        with self.calling(server, pattern, is_silent=is_silent) as generator:
            opened(server, generator.grow(sessions, self.ramp_s))
            time.sleep(self.settle_s)
            return window(generator, pid, self.server_core, self.window_s)


def opened(server: Server, grown: Grown) -> None:
    """Say which sessions were refused; raises `GeneratorError` where those were more than a quarter."""
    if grown.failed:
        fault = f"{server.name} refused {grown.failed} of {grown.opened + grown.failed} sessions: {grown.reason}"
        if grown.failed > grown.opened // 3:
            raise GeneratorError(fault)
        say(fault)


def say(text: str) -> None:
    """Tell on standard error how far the run is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def alternate(lab: Lab, kinds: Sequence[Server], pattern: Path, sessions: int) -> list[list[Window]]:
    """Measure servers in turn, all of them up all the time, in an order that is reversed each round (ABBA).

    Returns the windows of each server, in the order of `kinds`. A machine that gets slower meanwhile does so for all.
    """
    windows: list[list[Window]] = [[] for _ in kinds]
    with ExitStack() as stack:
        pids = [stack.enter_context(lab.serving(each)) for each in kinds]
        for index in range(lab.rounds):
            order = range(len(kinds)) if index % 2 == 0 else reversed(range(len(kinds)))
            for which in order:
                measured = lab.measure(kinds[which], pids[which], pattern, sessions)
                windows[which].append(measured)
                say(
                    f"{kinds[which].name}: {measured.cpu_ms_per_session_s:.2f} ms per session and second, "
                    f"others on its core {measured.others:.0%}"
                )
    return windows


def ratios(new: Sequence[Window], old: Sequence[Window]) -> Spread:
    """CPU per session of the new by that of the old, window by window of one round."""
    return Spread.of([n.cpu_ms_per_session_s / o.cpu_ms_per_session_s for n, o in zip(new, old, strict=True)])


@dataclass(frozen=True, slots=True)
class Profile:
    """Samples of the main thread by layer, and an undisturbed window of the same sessions, by which they are scaled."""

    samples: Counter[str]
    window: Window


def profile(lab: Lab, server: Server, pattern: Path, sessions: int) -> Profile:
    """Measure a window, and then profile: py-spy stops the process for each sample."""
    with lab.serving(server) as pid, lab.calling(server, pattern) as generator:
        opened(server, generator.grow(sessions, lab.ramp_s))
        time.sleep(lab.settle_s)
        measured = window(generator, pid, lab.server_core, lab.window_s)
        return Profile(layers.sample(pid, lab.profile_s), measured)


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
    if late.p99 >= LATE_MS:
        return f"late: {late.p99:.1f} ms at p99"
    if server.has_echo and callers.frames_received < (1 - MISSING) * callers.frames_sent:
        return f"{callers.frames_sent - callers.frames_received} of {callers.frames_sent} frames did not come back"
    return None


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
