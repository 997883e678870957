"""The runs of the benchmark: each starts what it measures, and returns figures."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.capacity import generator as generators
from bench.capacity.generator import Generator, GeneratorError, Grown
from bench.capacity.measure import Spread, Window, window
from bench.capacity.servers import server as servers
from bench.capacity.servers.server import Server


@dataclass(frozen=True, slots=True)
class Lab:
    """The generator, the cores, and how long things take: `ramp_s` to open 16 sessions, `settle_s` before a window."""

    program: Path
    folder: Path
    server_core: int
    generator_cores: tuple[int, ...]
    window_s: float
    ramp_s: float
    settle_s: float

    @classmethod
    def of_this_machine(cls, program: Path, folder: Path, *, is_quick: bool) -> Lab:
        """The server gets the first core, the generator those that are left; windows are whole periods of the traffic."""
        first, *rest = sorted(os.sched_getaffinity(0))
        times = (5.0, 2.0, 1.0) if is_quick else (10.0, 5.0, 3.0)
        return cls(program, folder, first, tuple(rest) or (first,), *times)

    @contextmanager
    def serving(self, server: Server) -> Iterator[int]:
        """Run a server on its core."""
        with servers.running(server, [self.server_core], self.folder / f"{server.name.replace(' ', '-')}.log") as pid:
            yield pid

    @contextmanager
    def calling(self, server: Server, pattern: Path, *, is_silent: bool = False) -> Iterator[Generator]:
        """Run a generator whose calls go to the server."""
        options = (["--silent"] if is_silent else []) + ([] if server.has_echo else ["--utterances"])
        command = [str(self.program), server.protocol, server.address, str(pattern), *options]
        with generators.running(command, self.generator_cores, self.folder) as generator:
            yield generator

    def measure(self, server: Server, pid: int, pattern: Path, sessions: int, *, is_silent: bool = False) -> Window:
        """Open sessions, let them settle, measure one window, and close them."""
        with self.calling(server, pattern, is_silent=is_silent) as generator:
            opened(server, generator.grow(sessions, self.ramp_s))
            time.sleep(self.settle_s)
            return window(generator, pid, self.server_core, self.window_s)


def opened(server: Server, grown: Grown) -> None:
    """Raises `GeneratorError` where a session was refused."""
    if grown.failed:
        raise GeneratorError(f"{server.name} refused {grown.failed} sessions of {grown.opened + grown.failed}: {grown.reason}")


def say(text: str) -> None:
    """Tell on standard error how far the run is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def alternate(lab: Lab, kinds: Sequence[Server], pattern: Path, sessions: int, rounds: int) -> list[list[Window]]:
    """Measure servers in turn, all of them up all the time, in an order that is reversed each round (ABBA).

    Returns the windows of each server, in the order of `kinds`. A machine that gets slower meanwhile does so for all.
    """
    windows: list[list[Window]] = [[] for _ in kinds]
    with ExitStack() as stack:
        pids = [stack.enter_context(lab.serving(each)) for each in kinds]
        for index in range(rounds):
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
