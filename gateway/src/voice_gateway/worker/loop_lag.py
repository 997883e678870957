"""How late the worker's event loop runs what is due: the first figure that rises when a worker has too much to do."""

from __future__ import annotations

import asyncio
from typing import Final

from voice_gateway.session.stats.counters import Histogram

BOUNDS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
LOOK_EVERY_S: Final = 0.25


class LoopLag:
    """Measures four times a second once started; `histogram` is in seconds."""

    def __init__(self) -> None:
        self.histogram = Histogram(BOUNDS_S)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure on the running loop."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(due := loop.time() + LOOK_EVERY_S, self._look, due)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, due: float) -> None:
        self.histogram.observe(max(0.0, asyncio.get_running_loop().time() - due))
        self.start()
