"""One connection of a caller to the worker: who it is, and what it may still do."""

from __future__ import annotations

from collections.abc import Callable

from gateway.access.limits import AccessLimits, Excess, Holder
from gateway.access.uplinks import Meter, Uplinks
from gateway.session.counters import SessionCounters
from gateway.wire import ClientMessage, CloseCode, Malformed, Start


class Visit:
    """Ask it about all that arrives; `clock` is the event loop's.

    With `no_place` the caller may take its session up again, but begin none.
    """

    def __init__(
        self,
        holder: Holder,
        meter: Meter,
        clock: Callable[[], float],
        counters: SessionCounters,
        no_place: Excess | None = None,
    ) -> None:
        self.holder = holder
        self.no_place = no_place
        self._meter = meter
        self._clock = clock
        self._counters = counters

    def octets(self, count: int) -> Malformed | None:
        """So much arrived; the answer is why it is too much."""
        return self._fault(self._meter.octets(count, self._clock()))

    def audio(self) -> Malformed | None:
        """A frame arrived."""
        return self._fault(self._meter.message(self._clock()))

    def message(self, message: ClientMessage) -> Malformed | None:
        """A control message arrived."""
        if self.no_place is not None and isinstance(message, Start):
            return self._fault(self.no_place)
        return self._fault(self._meter.message(self._clock()))

    def _fault(self, excess: Excess | None) -> Malformed | None:
        if excess is None:
            return None
        self._counters.limited[excess.limit] += 1
        return Malformed(excess.reason, CloseCode.OVERLOADED)


def unlimited_visit() -> Visit:
    """A visit of nobody in particular who may do anything."""
    return Visit(Holder(), Uplinks(AccessLimits()).meter(Holder()), lambda: 0.0, SessionCounters())
