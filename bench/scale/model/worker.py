"""One worker on one core: what a session costs at each load, when the core is full, and how late it is meanwhile.

The event loop handles what has arrived in one turn, so that datagrams share what a turn costs, and more of them the
busier the core is. The law: of the overhead of a turn, a datagram bears the share of the time that the core is idle.
With `work` the CPU that a session takes of a full core and `overhead` what comes on top on an idle one, both seconds a
second, the core's use is `U = n (work + overhead (1 - U))`. Two measured points fix both; a third one checks the law.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.scale.inputs import Figures

BEGUN_A_TURN = 2
"""Connections that a worker begins in a turn of its event loop, however many wait (`quiclb/net/fair_turns.py`)."""


@dataclass(frozen=True, slots=True)
class WorkerModel:
    """A worker, by seconds of CPU: of a session and second (`work`, `overhead`), and of a handshake."""

    work: float
    overhead: float
    handshake_s: float

    @classmethod
    def fitted(cls, figures: Figures, *, extra_ms: float = 0.0) -> WorkerModel:
        """From what 16 sessions cost and how many fill a core; `extra_ms` is an agent's CPU per session and second."""
        few, full = 16, figures["sessions_carried"]
        work = 1 / full
        used = few * figures["session_cpu_ms_at_16"] / 1000
        overhead = (used / few - work) / (1 - used)
        return cls(work + extra_ms / 1000, overhead, 1 / figures["handshakes_per_cpu_s"])

    def use(self, sessions: ArrayLike) -> NDArray[np.float64]:
        """The share of a core that so many sessions take; above 1 the core is behind, and falls back further."""
        n = np.asarray(sessions, np.float64)
        shared = n * (self.work + self.overhead) / (1 + n * self.overhead)
        return np.where(n * self.work < 1, shared, n * self.work)

    def cost_ms(self, sessions: float) -> float:
        """Milliseconds of CPU per session and second."""
        return float(1000 * self.use(sessions) / sessions)

    @property
    def full(self) -> float:
        """How many sessions take all of a core."""
        return 1 / self.work

    def handshakes_per_s(self, sessions: ArrayLike, least_share: float = 0.0) -> NDArray[np.float64]:
        """Handshakes a second that the rest of the core is good for, at least `least_share` of it."""
        return np.maximum(1 - self.use(sessions), least_share) / self.handshake_s

    def storm_turn_s(self, sessions: float) -> float:
        """How long a turn of the event loop takes while handshakes wait all the time: media is so late, at least.

        A turn begins two connections and handles the media that arrived during the turn before. Infinite where media
        alone fills the core.
        """
        use = sessions * self.work
        return BEGUN_A_TURN * self.handshake_s / (1 - use) if use < 1 else math.inf


def simulated_use(arrivals_s: NDArray[np.float64], turn_s: float, datagram_s: float, seconds: float) -> float:
    """The share of `seconds` that a loop is busy which takes, in each turn, all that has arrived: step by step.

    Each turn costs `turn_s` and `datagram_s` for each datagram.
    """
    now, taken, busy = 0.0, 0, 0.0
    while taken < len(arrivals_s):
        now = max(now, float(arrivals_s[taken]))
        waiting = int(np.searchsorted(arrivals_s, now, side="right")) - taken
        cost = turn_s + waiting * datagram_s
        busy += cost
        now += cost
        taken += waiting
    return busy / seconds
