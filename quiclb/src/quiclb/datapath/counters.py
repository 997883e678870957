"""What the load balancer counts: plain dictionaries with few possible keys, read when asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field


@dataclass(slots=True)
class DatapathCounters:
    """All totals since the start. No key comes from a datagram, so the size is bounded by the table's.

    `packets` counts client datagrams by (decision, reason); `replies` those of backends by (result, reason);
    `backend_packets` and `backend_bytes` by (backend, direction), direction being `to` or `from`, bytes without the SPP
    header; `send_errors` what the kernel refused by (side, error).
    """

    packets: Counter[tuple[str, str]] = field(default_factory=Counter)
    replies: Counter[tuple[str, str]] = field(default_factory=Counter)
    backend_packets: Counter[tuple[str, str]] = field(default_factory=Counter)
    backend_bytes: Counter[tuple[str, str]] = field(default_factory=Counter)
    send_errors: Counter[tuple[str, str]] = field(default_factory=Counter)

    def keep_backends(self, names: Container[str]) -> None:
        """Forget the totals of all others, so that backends which come and go leave nothing behind."""
        for totals in (self.backend_packets, self.backend_bytes):
            for key in list(totals):  # at once: another thread may be counting
                if key[0] not in names:
                    del totals[key]

    def add(self, other: DatapathCounters) -> None:
        """Add the totals of another load balancer."""
        self.packets.update(other.packets)
        self.replies.update(other.replies)
        self.backend_packets.update(other.backend_packets)
        self.backend_bytes.update(other.backend_bytes)
        self.send_errors.update(other.send_errors)
