"""Connections that are opened and closed again, and the CPU that they cost a server."""

from __future__ import annotations

from dataclasses import dataclass

from bench.capacity.generator import Generator, Handshakes
from bench.capacity.servers.server import Usage

AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Handshaking:
    """Connections opened and closed again, and the CPU seconds of the server meanwhile."""

    callers: Handshakes
    cpu_s: float

    @classmethod
    def measure(cls, generator: Generator, pid: int, seconds: float) -> Handshaking:
        """Have callers open and close connections to the server of that process for so long."""
        before = Usage.of(pid)
        callers = generator.handshakes(AT_ONCE, seconds)
        return cls(callers, Usage.of(pid).cpu_s - before.cpu_s)

    @property
    def per_core_s(self) -> float:
        """Handshakes that a second of CPU is good for."""
        return self.callers.completed / self.cpu_s if self.cpu_s else 0.0
