"""What came of one call, and of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures import percentile


@dataclass(frozen=True, slots=True)
class Outcome:
    """`lateness_ms` of each frame delivered, beyond the link's delay; `bytes` the caller sent, IP headers included."""

    sent: int
    lateness_ms: tuple[float, ...]
    byte_count: int

    @property
    def delivered_percent(self) -> float:
        return 100 * len(self.lateness_ms) / self.sent

    def late_by(self, percent: float) -> float:
        return percentile(self.lateness_ms, percent)


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """All of them as one."""
    lateness = [each for outcome in outcomes for each in outcome.lateness_ms]
    return Outcome(sum(each.sent for each in outcomes), tuple(lateness), sum(each.byte_count for each in outcomes))
