"""One connection of a caller to the worker: who it is, and what it may still do."""

from __future__ import annotations

from collections.abc import Callable

from voice_gateway.access.limits import AccessLimits, Excess, Holder
from voice_gateway.access.uplink_limits import Meter, Uplinks
from voice_gateway.session.stats.counters import SessionCounters
from voicelink.wire import CloseCode, Malformed


class Visit:
    """Ask it about all that arrives; `clock` is the event loop's."""

    def __init__(
        self,
        holder: Holder,
        meter: Meter,
        clock: Callable[[], float],
        counters: SessionCounters,
    ) -> None:
        self.holder = holder
        self._meter = meter
        self._clock = clock
        self._counters = counters

    def count_bytes(self, count: int) -> Malformed | None:
        """So much arrived; the answer is why it is too much."""
        return self._fault(self._meter.count_bytes(count, self._clock()))

    def audio(self) -> Malformed | None:
        """A frame arrived."""
        return self._fault(self._meter.message(self._clock()))

    def message(self) -> Malformed | None:
        """A control message arrived."""
        return self._fault(self._meter.message(self._clock()))

    def fault(self, excess: Excess) -> Malformed:
        """Count a limit that the caller has reached, and say so."""
        self._counters.limited[excess.limit] += 1
        return Malformed(excess.reason, CloseCode.OVERLOADED)

    def _fault(self, excess: Excess | None) -> Malformed | None:
        return None if excess is None else self.fault(excess)


def unlimited_visit() -> Visit:
    """A visit of nobody in particular who may do anything."""
    return Visit(Holder(), Uplinks(AccessLimits()).meter(Holder()), lambda: 0.0, SessionCounters())
