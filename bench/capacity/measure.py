"""One measured window of a server under load, and what several of them make."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.capacity.generator import CallerView, Generator
from bench.capacity.servers.server import Usage, core_busy_s, times_waited


@dataclass(frozen=True, slots=True)
class Window:
    """What a server used while the callers saw `callers`.

    `others` is the share, 0..1, of the server's core that went to other processes or was stolen: above a few per cent
    the window says little. `waits` is how often the server's threads waited, and had to be woken again.
    """

    cpu_s: float
    system_s: float
    resident_bytes: int
    others: float
    callers: CallerView
    waits: int | None = None

    @property
    def cpu_ms_per_session_s(self) -> float:
        """Milliseconds of CPU per second of one session."""
        return 1000 * self.cpu_s / self.callers.seconds / max(1, self.callers.sessions)

    @property
    def us_per_frame(self) -> float:
        """Microseconds of CPU per frame that a caller sent or got; 0 where there is none."""
        frames = self.callers.frames_sent + self.callers.frames_received
        return 1e6 * self.cpu_s / frames if frames else 0.0


def window(generator: Generator, pid: int, core: int, seconds: float) -> Window:
    """Measure the server for `seconds`, with the sessions there are."""
    before, waited, busy_s, began = Usage.of(pid), times_waited(pid), core_busy_s(core), time.monotonic()
    generator.begin()
    time.sleep(seconds)
    callers = generator.end()
    after, waits, elapsed_s = Usage.of(pid), times_waited(pid) - waited, time.monotonic() - began
    cpu_s = after.cpu_s - before.cpu_s
    others = max(0.0, core_busy_s(core) - busy_s - cpu_s) / elapsed_s
    return Window(cpu_s, after.system_s - before.system_s, after.resident_bytes, min(1.0, others), callers, waits)


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one figure."""

    n: int
    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises `ValueError` where there is no value."""
        if not values:
            raise ValueError("a spread needs at least one value")
        return cls(len(values), statistics.median(values), min(values), max(values))

    def text(self, digits: int = 2) -> str:
        """The median and, in brackets, the range."""
        return f"{self.median:.{digits}f} ({self.least:.{digits}f} to {self.most:.{digits}f})"


@dataclass(frozen=True, slots=True)
class Slope:
    """A straight line through `n` points by least squares; `error` is the standard error of `per_x`."""

    n: int
    per_x: float
    error: float

    @classmethod
    def of(cls, points: Sequence[tuple[float, float]]) -> Slope:
        """Raises `ValueError` for fewer than three points: two have no error."""
        if len(points) < 3:
            raise ValueError(f"a slope with an error needs three points, got {len(points)}")
        mean_x, mean_y = (statistics.fmean(each) for each in zip(*points, strict=True))
        spread = sum((x - mean_x) ** 2 for x, _ in points)
        per_x = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
        rest = sum((y - mean_y - per_x * (x - mean_x)) ** 2 for x, y in points)
        return cls(len(points), per_x, (rest / (len(points) - 2) / spread) ** 0.5)
