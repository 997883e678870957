"""Counters and histograms of a worker's sessions: plain numbers, raised on every frame and read by the metrics."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from voice_gateway.session.stats.turn_latency import Figure

GAP_BOUNDS_S: Final = (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0)
LATENCY_BOUNDS_S: Final = (
    0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Among them what a turn's parts may take of 0.8 s: 0.04 capture and uplink, 0.3 STT, 0.4 LLM, 0.15 TTS."""


class Histogram:
    """Counts values by upper bound, and sums them up."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class SessionCounters:
    """Totals since the worker began.

    `ended` counts by code, `refused` by HTTP status and cause, `accepted` by transport, `limited` by limit.
    """

    started: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[int, str]] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    limited: Counter[str] = field(default_factory=Counter)
    frames_received: int = 0
    bytes_received: int = 0
    frames_dropped: int = 0
    frames_sent: int = 0
    bytes_sent: int = 0
    turns: int = 0
    replies: int = 0
    interruptions: int = 0
    migrations: int = 0
    resumes: int = 0
    resumes_refused: int = 0
    saves: int = 0
    save_failures: int = 0
    is_store_away: bool = False
    frames_replayed: int = 0
    uplink_gap: Histogram = field(default_factory=lambda: Histogram(GAP_BOUNDS_S))
    latencies: dict[Figure, Histogram] = field(
        default_factory=lambda: {figure: Histogram(LATENCY_BOUNDS_S) for figure in Figure}
    )

    def observe(self, figure: Figure, value_s: float) -> None:
        """Count a figure of a turn."""
        self.latencies[figure].observe(value_s)
