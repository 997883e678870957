"""What the telephone side of a worker counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class TelephonyCounters:
    """Totals since the worker began; `skipped` counts the vendor's messages by `Skip`."""

    streams: int = 0
    refused_signatures: int = 0
    refused_replays: int = 0
    refused_streams: int = 0
    twiml_pages: int = 0
    messages: int = 0
    limited: int = 0
    """Streams closed for more messages than a limit."""
    missing_messages: int = 0
    digits: int = 0
    marks_sent: int = 0
    marks_played: int = 0
    marks_cleared: int = 0
    clears: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
