"""Runs one connection on an event loop: its timer, its events, and what is due to be sent."""

from __future__ import annotations

from typing import Any, Protocol

from voicelink.net.deadline_queue import DeadlineQueue
from voicelink.net.deadline_timer import Clock
from voicelink.quic.engine import Connection
from voicelink.quic.events import QuicEvent, StreamDataReceived

_CLOCK_RESOLUTION_S = 0.001


class Host(Protocol):
    """What a driver needs of the endpoint or client that the connection belongs to."""

    def datagram_to_send(self, datagram: bytes, address: Any) -> None:
        """Send to an address that `Driver.receive` or `Connection.connect` named."""

    def schedule_flush(self) -> None:
        """Have `Driver.flush` called once, when the loop has read what is waiting."""

    def event_received(self, event: QuicEvent) -> None:
        """Take the connection's next event, but for data that goes to one of `Connection.stream_sinks`."""

    def fault_found(self) -> bool:
        """Handling the connection raised, from within `except`; return False to have the exception propagate."""


class Driver:
    """Feeds a connection with datagrams and the time, and its host with events and datagrams.

    Nothing that arrives makes it send at once: it asks its host for one flush for each turn of the loop, if anything is
    due by then: most packets of a voice ask for no answer but an ACK that can wait. After
    `release` nothing is received, sent or timed any more, and it refers to its host no longer. `deadlines` run on
    `clock`, and are shared by connections on one loop.
    """

    __slots__ = ("_clock", "_deadline", "_host", "_is_dispatching", "_is_flush_pending", "_quic", "_reached")

    def __init__(self, quic: Connection, clock: Clock, deadlines: DeadlineQueue, host: Host) -> None:
        self._quic = quic
        self._clock = clock
        self._host: Host | None = host
        self._deadline = deadlines.deadline(self._deadline_reached)
        self._is_flush_pending = False
        self._is_dispatching = False
        self._reached = 0.0
        """The last deadline that came. The loop calls up to a millisecond early, and what is due
        then is sent at once: it would not be due by the clock."""

    def receive(self, datagram: bytes, address: Any) -> None:
        """Take a datagram; what it calls for is sent with the next flush."""
        ignored = self._quic.packets_ignored
        now = self._clock.time()
        try:
            self._quic.receive_datagram(datagram, address, now)
        except Exception:
            if not self._fault_found():
                raise
        if self._quic.packets_ignored != ignored:
            return  # nothing came of it: a flood must not be paid for twice
        self.dispatch()
        if self._quic.is_sending_due(now):
            self.flush_soon()
        elif not self._is_flush_pending:
            self._set_deadline()

    def flush_soon(self) -> None:
        """Send, once in this turn of the loop, all that is queued by then."""
        if not self._is_flush_pending and self._host is not None:
            self._is_flush_pending = True
            self._host.schedule_flush()

    def flush(self) -> None:
        """Send what is queued and set the timer."""
        self._is_flush_pending = False
        host = self._host
        if host is None:
            return
        try:
            datagrams = self._quic.datagrams_to_send(max(self._clock.time(), self._reached))
        except Exception:
            if not self._fault_found():
                raise
            return
        for datagram, address in datagrams:
            host.datagram_to_send(datagram, address)
        self.dispatch()
        self._set_deadline()

    def dispatch(self) -> None:
        """Hand out the events that wait; within `Host.event_received`, leave them to the call that is under way."""
        waiting = self._quic.waiting_events
        if not waiting or self._is_dispatching:
            return
        self._is_dispatching = True
        next_event, sinks = self._quic.next_event, self._quic.stream_sinks
        try:
            while waiting and (host := self._host) is not None and (event := next_event()) is not None:
                try:
                    if type(event) is StreamDataReceived and not event.end_stream:
                        sink = sinks.get(event.stream_id)
                        if sink is not None:
                            sink(event.data)
                            continue
                    host.event_received(event)
                except Exception:
                    if not self._fault_found():
                        raise
        finally:
            self._is_dispatching = False

    def release(self) -> None:
        """Stop for good."""
        self._host = None
        self._deadline.release()

    def _fault_found(self) -> bool:
        return self._host is not None and self._host.fault_found()

    def _set_deadline(self) -> None:
        timer_at = None if self._host is None else self._quic.get_timer()
        if timer_at is not None:
            self._deadline.set(timer_at)

    def _deadline_reached(self, now: float) -> None:
        timer_at = self._quic.get_timer()
        if timer_at is None:
            return
        if timer_at > now + _CLOCK_RESOLUTION_S:
            self._set_deadline()
            return
        self._reached = max(now, timer_at)
        try:
            self._quic.handle_timer(self._reached)
        except Exception:
            if not self._fault_found():
                raise
        self.dispatch()
        self.flush_soon()
