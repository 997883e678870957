"""What the TCP servers of a worker count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from quiclb.http.listener import ListenerCounters


@dataclass(slots=True)
class WebCounters:
    """Totals since the worker began, over all TCP listeners."""

    connections: ListenerCounters = field(default_factory=ListenerCounters)
    responses: Counter[int] = field(default_factory=Counter)
    """Answers by HTTP status; 101 is a WebSocket."""
    websockets_cut_off: Counter[str] = field(default_factory=Counter)
    """WebSockets ended for what their peer did: `frame_rate`, `fragments`, `unread`; `failed` is a defect of ours."""
