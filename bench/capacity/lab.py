"""What every run has: the generator, the cores, how long things take, and how a server and its callers are started."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.capacity import generator as generators
from bench.capacity.generator import Generator, GeneratorError, Grown
from bench.capacity.measure import Window, window
from bench.capacity.servers import server as servers
from bench.capacity.servers.server import Server


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
