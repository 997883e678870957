"""What came of one call, and of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.figures import percentile


@dataclass(frozen=True, slots=True)
class Outcome:
    """`late_ms` of each frame delivered, by number, beyond the link's delay.

    `byte_count` is what the caller sent, IP headers included. `packets` are Opus as it arrived, by frame number, of a
    caller that has an encoder of its own.
    """

    sent: int
    late_ms: Mapping[int, float]
    byte_count: int
    packets: Mapping[int, bytes] = field(default_factory=dict)

    @property
    def delivered_percent(self) -> float:
        return 100 * len(self.late_ms) / self.sent

    @property
    def lateness_ms(self) -> list[float]:
        return list(self.late_ms.values())

    def late_by(self, percent: float) -> float:
        return percentile(self.lateness_ms, percent)

    def within(self, limit_ms: float) -> frozenset[int]:
        """The frames that are no later than that."""
        return frozenset(number for number, late in self.late_ms.items() if late <= limit_ms)


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """All of them as one, whose frames have numbers one call behind the other."""
    late_ms: dict[int, float] = {}
    sent = 0
    for each in outcomes:
        late_ms |= {sent + number: late for number, late in each.late_ms.items()}
        sent += each.sent
    return Outcome(sent, late_ms, sum(each.byte_count for each in outcomes))
