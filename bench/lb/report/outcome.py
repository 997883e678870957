"""Numbers out of numbers: quantiles of a histogram, medians over rounds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

Bucket = tuple[int, int, int]
"""Lowest value, first value above, how many."""


def quantile(histogram: Sequence[Bucket], q: float) -> float | None:
    """The value below which a share `q` of the entries lies, interpolated within its bucket; `None` without entries."""
    total = sum(count for _, _, count in histogram)
    if not total:
        return None
    wanted, below = q * total, 0
    for low, high, count in histogram:
        if below + count >= wanted:
            return low + (high - low) * (wanted - below) / count
        below += count
    return float(histogram[-1][1])


def merge(histograms: Iterable[Sequence[Bucket]]) -> list[Bucket]:
    """One histogram of all entries; buckets come from one grid."""
    counts: dict[tuple[int, int], int] = {}
    for low, high, count in (bucket for histogram in histograms for bucket in histogram):
        counts[low, high] = counts.get((low, high), 0) + count
    return [(low, high, count) for (low, high), count in sorted(counts.items())]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of the load generator, and what the implementation spent meanwhile.

    `sent` and `received` are echoes' datagrams: a load balancer passed each received one on twice.
    """

    seconds: float
    sent: int
    received: int
    received_in_time: int
    misrouted: int
    misdelivered: int
    reordered: int
    untrusted: int
    refused: int
    latency_ns: list[Bucket]
    cpu_ns: int = 0

    @property
    def datagrams_per_s(self) -> float:
        """Datagrams that the implementation passed on, both ways together."""
        return 2 * self.received_in_time / self.seconds

    @property
    def cpu_ns_per_datagram(self) -> float | None:
        return self.cpu_ns / (2 * self.received_in_time) if self.received_in_time and self.cpu_ns else None

    @property
    def core_share(self) -> float:
        """How much of one core the implementation used."""
        return self.cpu_ns / (self.seconds * 1e9)

    @property
    def lost(self) -> int:
        return max(0, self.sent - self.received)


def pooled(rounds: Sequence[Outcome]) -> Outcome:
    """The sums over all rounds, with one histogram."""
    sums = {name: sum(getattr(outcome, name) for outcome in rounds) for name in _COUNTS}
    return replace(rounds[0], **sums, latency_ns=merge(outcome.latency_ns for outcome in rounds))


def median(values: Iterable[float | None]) -> float | None:
    """The median of the values there are."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def ratio(value: float | None, to: float | None) -> float | None:
    """`value / to` where both are known and the second is not 0."""
    return value / to if value is not None and to else None


_COUNTS = (
    "seconds",
    "sent",
    "received",
    "received_in_time",
    "misrouted",
    "misdelivered",
    "reordered",
    "untrusted",
    "refused",
    "cpu_ns",
)
