"""What the machine costs any server under this traffic: the windows of one that only echoes datagrams."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bench.capacity.lab import Lab, say
from bench.capacity.measure import Spread, Window
from bench.capacity.runs.survey import busy_windows, silent_window
from bench.capacity.servers.server import Server


@dataclass(frozen=True, slots=True)
class MachineFloor:
    """The server that only echoes, measured before the others and after them, as the machine may change meanwhile."""

    server: Server
    windows: tuple[Window, ...]
    silences: tuple[Window, ...]

    def and_later(self, later: MachineFloor) -> MachineFloor:
        """Return both measurements as one."""
        return replace(self, windows=self.windows + later.windows, silences=self.silences + later.silences)

    @property
    def cost(self) -> Spread:
        """CPU ms per session and second."""
        return Spread.of([each.cpu_ms_per_session_s for each in self.windows])


def floor(lab: Lab, server: Server, pattern: Path, sessions: int) -> MachineFloor:
    """Measure sessions that speak, and as many that only listen."""
    with lab.serving(server) as pid:
        windows = busy_windows(lab, server, pid, pattern, sessions)
        found = MachineFloor(server, windows, (silent_window(lab, server, pid, pattern, sessions),))
    say(f"{server.name}: {found.cost.text()} ms per session and second")
    return found
