"""A floor under the congestion window, so that a voice does not starve behind the loss of a path.

Reno halves its window at each loss and takes a round trip to win a packet back: at 5 % loss what is left is less than
speech needs, and datagrams queue behind it. A flow as thin as speech cannot congest much, but it must stay thin, and
must stop on a path that carries nothing (RFC 8085 sections 3.1.3 and 3.1.10): hence the cap in bit/s, and the end of
the floor some time after the last acknowledgement.
"""

from __future__ import annotations

from typing import Any, Final

from aioquic._buffer import Buffer
from aioquic.quic.connection import QuicReceiveContext

from voicelink.quic.limits.allowance import Allowance
from voicelink.quic.parts.paths import Paths

FLOOR_BITS_PER_S: Final = 192_000
FLOOR_BURST_BYTES: Final = 4_800
FLOOR_ENDS_AFTER_S: Final = 4.0
_IP_UDP_BYTES: Final = 28
_PACKET_BYTES: Final = 64  # headers and an acknowledgement beside a DATAGRAM frame


class Floor(Paths):
    """While DATAGRAM frames wait, the window is never below what the allowance has left."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._floor: Allowance | None = None
        self._acknowledged_at = 0.0
        self._attempted_at = 0.0

    @property
    def queued_datagrams(self) -> int:
        """How many DATAGRAM frames wait to be sent."""
        return len(self._datagrams_pending)

    def hold_floor(self, now: float) -> None:
        """Let DATAGRAM frames go from now on, whatever the congestion window, up to `FLOOR_BITS_PER_S`."""
        if self._floor is None:
            self._floor = Allowance(FLOOR_BITS_PER_S, FLOOR_BURST_BYTES, now)
            self._acknowledged_at = now

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        floor = self._floor
        if floor is None:
            return super().datagrams_to_send(now)
        self._attempted_at = now
        is_allowed = bool(self._datagrams_pending) and floor.left(now) >= self._next_datagram_bytes()
        if is_allowed and self._is_floor_held(now):
            datagrams = self._sent_despite_window(max(int(floor.left(now)), self._max_datagram_size), now)
        else:
            datagrams = super().datagrams_to_send(now)
        floor.spend(sum(len(datagram) + _IP_UDP_BYTES for datagram, _ in datagrams), now)
        return datagrams

    def _sent_despite_window(self, byte_count: int, now: float) -> list[tuple[bytes, Any]]:
        controller, pacer = self._loss._cc, self._loss._pacer
        window, packet_time = controller.congestion_window, pacer.packet_time
        controller.congestion_window = max(window, controller.bytes_in_flight + byte_count)
        pacer.packet_time = None
        try:
            return super().datagrams_to_send(now)
        finally:
            controller.congestion_window, pacer.packet_time = window, packet_time

    def get_timer(self) -> float | None:
        timer_at = super().get_timer()
        if self._floor is None or timer_at is None or not self._datagrams_pending:
            return timer_at
        ready_at = self._floor.ready_at(self._next_datagram_bytes())
        # where it was allowed already, something else than the window holds the datagrams back
        is_worth_it = ready_at > self._attempted_at and self._is_floor_held(ready_at)
        return min(timer_at, ready_at) if is_worth_it else timer_at

    def _is_floor_held(self, now: float) -> bool:
        return now - self._acknowledged_at < FLOOR_ENDS_AFTER_S

    def _next_datagram_bytes(self) -> int:
        return len(self._datagrams_pending[0]) + _PACKET_BYTES if self._datagrams_pending else 0

    def _handle_ack_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        before = self._spaces[context.epoch].largest_acked_packet
        super()._handle_ack_frame(context, frame_type, buf)
        if self._spaces[context.epoch].largest_acked_packet > before:
            self._acknowledged_at = context.time
