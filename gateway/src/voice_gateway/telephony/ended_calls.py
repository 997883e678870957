"""Calls that an agent ended or transferred, until their vendor asks what to do with them next. Sans-IO."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

KEEP_S: Final = 120.0
_MOST_CALLS: Final = 4_096


@dataclass(frozen=True, slots=True)
class EndedCall:
    """How a call ended: transferred to `target`, or hung up where that is `None`."""

    target: str | None
    until: float


class EndedCalls:
    """Remembers each call by its ID for `KEEP_S`, the newest 4,096 at most."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, EndedCall] = OrderedDict()

    def ended(self, call_id: str, target: str | None, now: float) -> None:
        """The agent ended the call, or handed it on to `target`."""
        self._calls.pop(call_id, None)
        self._calls[call_id] = EndedCall(target, now + KEEP_S)
        if len(self._calls) > _MOST_CALLS:
            self._calls.popitem(last=False)

    def take(self, call_id: str | None, now: float) -> EndedCall | None:
        """Return how the call ended, once; `None` for one that goes on."""
        ended = None if call_id is None else self._calls.pop(call_id, None)
        return ended if ended is not None and now < ended.until else None
