"""What the forwarder counts: plain dictionaries with few possible keys, read when somebody asks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class ForwarderCounters:
    """All totals since the start. No key comes from a datagram, so the size is bounded.

    `packets` counts client datagrams by (decision, reason); `replies` those of backends by (result, reason);
    `backend_packets` by (backend, direction), direction being `to` or `from`; `send_errors` what the kernel
    refused by (side, error).
    """

    packets: Counter[tuple[str, str]] = field(default_factory=Counter)
    replies: Counter[tuple[str, str]] = field(default_factory=Counter)
    backend_packets: Counter[tuple[str, str]] = field(default_factory=Counter)
    send_errors: Counter[tuple[str, str]] = field(default_factory=Counter)
