"""The session store: how often a session saves its record, how long the record is, and how long a save waits.

A session saves when its record changes, never for a frame (`voice_gateway/session/core/record/record_tracker.py`):
at its begin, twice a turn (the final transcript, the answer), once for each interruption, and for silence, of which
agents report half a second after a turn and each half second from then on, at most every `SILENCE_INTERVAL_S`. Each
save writes the record whole, with all of its transcript.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.scale.inputs import Figures
from voice_gateway.agent.turn import TurnTiming
from voice_gateway.session.core.session_limits import SessionLimits

SAVES_A_TURN: Final = 2
SAVES_A_BEGIN: Final = 2
"""The first record, and the resume token that the caller is known to have."""
SILENCE_INTERVAL_S: Final = SessionLimits().silence_interval_s
_TURN_ENDS_AFTER_S: Final = TurnTiming().patience_ms / 1000
_SILENCE_REPORT_S: Final = TurnTiming().silence_report_ms / 1000


def saves_a_turn(pause_s: float) -> int:
    """Saves of a turn that a pause of so long follows."""
    quiet_s = pause_s - _TURN_ENDS_AFTER_S - _SILENCE_REPORT_S
    return SAVES_A_TURN + (0 if quiet_s < 0 else 1 + floor(quiet_s / SILENCE_INTERVAL_S))


def saves_per_s(turns_per_minute: float, talk_s: float, call_s: float) -> float:
    """Saves per session and second."""
    period_s = 60 / turns_per_minute
    return saves_a_turn(period_s - talk_s) / period_s + SAVES_A_BEGIN / call_s


@dataclass(frozen=True, slots=True)
class RecordSize:
    """Bytes of a record: `base`, and `per_turn` for each turn of the call."""

    base: float
    per_turn: float

    def mean_bytes(self, call_s: float, turns_per_minute: float) -> float:
        """Of all saves of calls of exponential length: a call that runs has lasted for the mean length, on average."""
        return self.base + self.per_turn * turns_per_minute / 60 * call_s


def redis_us(figures: Figures, record_bytes: float) -> float:
    """Microseconds of Redis's CPU for a save."""
    return figures["redis_save_us"] + figures["redis_save_us_per_kb"] * record_bytes / 1000


def worker_us(figures: Figures, record_bytes: float) -> float:
    """Microseconds of a worker's CPU for a save in Redis; in the memory of the worker it costs next to nothing."""
    return figures["worker_save_us"] + figures["worker_save_us_per_kb"] * record_bytes / 1000


def mean_wait_s(use: float, service_s: float) -> float:
    """How long a request waits on average for one server with random arrivals and a fixed service time (M/D/1)."""
    if not 0 <= use < 1:
        raise ValueError(f"a server is used by 0 to below 1 of its time, got {use}: beyond it the queue only grows")
    return use * service_s / (2 * (1 - use))


def simulated_waits_s(arrivals_s: NDArray[np.float64], service_s: float) -> NDArray[np.float64]:
    """How long each request waits for one server, first come, first served, request by request (Lindley)."""
    gaps = np.diff(arrivals_s, prepend=arrivals_s[0])
    drift = np.cumsum(np.where(np.arange(len(gaps)) == 0, 0.0, service_s - gaps))
    return np.asarray(drift - np.minimum.accumulate(drift))
