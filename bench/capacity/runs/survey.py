"""What sessions and handshakes cost one server, and how many sessions it carries."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.capacity.generator import GeneratorError
from bench.capacity.lab import Lab, opened, say
from bench.capacity.measure import Spread, Window, window
from bench.capacity.runs.handshakes import Handshaking
from bench.capacity.runs.ramp import Ramp, ramp
from bench.capacity.servers.server import Server, Usage

FEWEST_SESSIONS = 4
LOADED = 3
"""So many times the sessions are what a server is under load with."""
COLLAPSED_MS = 500.0
"""At the median: no codec, jitter buffer or chunk of audio holds a frame for so long."""


@dataclass(frozen=True, slots=True)
class Survey:
    """One server in the comparison.

    `idle_bytes` are resident once a first call has come and gone. `loaded` is a window of `LOADED` times as many
    sessions; `None` where frames are not echoed, or the server does not take so many.
    """

    server: Server
    idle_bytes: int
    windows: tuple[Window, ...]
    loaded: Window | None
    silence: Window
    handshakes: Handshaking
    ramp: Ramp | None

    @property
    def cost(self) -> Spread:
        """CPU ms per session and second."""
        return Spread.of([each.cpu_ms_per_session_s for each in self.windows])


def survey(lab: Lab, server: Server, pattern: Path, sessions: int, *, has_ramp: bool) -> Survey:
    """Measure what `sessions` cost, what as many cost that only listen, handshakes, and how many a core carries.

    A server that collapses under so many is measured with half of them, and half of those again.
    """
    with lab.serving(server) as pid:
        with lab.calling(server, pattern) as generator:
            opened(server, generator.grow(1, 0))
        idle_bytes = Usage.of(pid).resident_bytes
        windows = busy_windows(lab, server, pid, pattern, sessions)
        while has_collapsed(server, windows) and sessions >= 2 * FEWEST_SESSIONS:
            say(f"{server.name}: {sessions} sessions are too many, {sessions // 2} are tried")
            sessions //= 2
            windows = busy_windows(lab, server, pid, pattern, sessions)
        silence = silent_window(lab, server, pid, pattern, sessions)
        with lab.calling(server, pattern) as generator:
            handshaking = Handshaking.measure(generator, pid, lab.handshakes_s)
        loaded = _loaded(lab, server, pid, pattern, LOADED * sessions) if server.has_echo else None
        cost = Spread.of([each.cpu_ms_per_session_s for each in windows])
        say(f"{server.name}: {cost.text()} ms per session and second, {handshaking.per_core_s:.0f} handshakes a core")
        expected = 1000 / max(0.5, cost.median)
        carried = ramp(lab, server, pid, pattern, expected) if has_ramp else None
    return Survey(server, idle_bytes, windows, loaded, silence, handshaking, carried)


def busy_windows(lab: Lab, server: Server, pid: int, pattern: Path, sessions: int) -> tuple[Window, ...]:
    """Measure so many sessions that speak, once they have settled."""
    with lab.calling(server, pattern) as generator:
        opened(server, generator.grow(sessions, lab.ramp_s))
        time.sleep(lab.settle_s)
        return tuple(window(generator, pid, lab.server_core, 5.0) for _ in range(lab.repeats))


def silent_window(lab: Lab, server: Server, pid: int, pattern: Path, sessions: int) -> Window:
    """Measure so many sessions that only listen and ping."""
    with lab.calling(server, pattern, is_silent=True) as generator:
        opened(server, generator.grow(sessions, lab.ramp_s))
        return window(generator, pid, lab.server_core, 5.0)


def _loaded(lab: Lab, server: Server, pid: int, pattern: Path, sessions: int) -> Window | None:
    try:
        with lab.calling(server, pattern) as generator:
            opened(server, generator.grow(sessions, lab.ramp_s))
            time.sleep(lab.settle_s)
            return window(generator, pid, lab.server_core, 5.0)
    except GeneratorError as error:
        say(f"{server.name}: not measured with {sessions} sessions: {error}")
        return None


def has_collapsed(server: Server, windows: Sequence[Window]) -> bool:
    """Whether sessions were lost, or most frames so late in every window that a queue must have grown."""
    if any(each.callers.lost for each in windows):
        return True
    return server.has_echo and all(each.callers.echo_ms.median >= COLLAPSED_MS for each in windows)
