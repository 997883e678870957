"""Loss recovery whose memory, and whose cost for each ACK frame, a peer cannot raise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

from aioquic.quic.congestion.base import create_congestion_control
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.recovery import QuicPacketPacer, QuicPacketRecovery, QuicPacketSpace
from aioquic.tls import Epoch

MAX_SENT_PACKETS: Final = 2048
"""Packets on record in one packet number space. The congestion window reaches 2.4 MB before it is limited by this."""
MAX_ACK_ONLY_PACKETS: Final = 8
"""Of these, packets that hold nothing to send again. The acknowledgement of a recent one shortens the next ACK."""


class BoundedRecovery(QuicPacketRecovery):
    """aioquic's loss recovery, with a limit to what it remembers of packets that are never acknowledged.

    `on_lost` is called before the frames of lost packets are queued again.
    """

    def __init__(self, *, on_lost: Callable[[], None], **more: Any) -> None:
        super().__init__(**more)
        self._on_lost = on_lost
        self.largest_sent: dict[Epoch, int] = {}
        """The newest packet number of each encryption level; 0-RTT counts as 1-RTT."""
        self.acks_unanswered = 0
        """Packets sent since the last one that asks for an acknowledgement."""
        self._ack_only: list[int] = []

    def on_packet_sent(self, *, packet: QuicSentPacket, space: QuicPacketSpace) -> None:
        super().on_packet_sent(packet=packet, space=space)
        self.largest_sent[packet.epoch] = packet.packet_number
        if not packet.is_ack_eliciting:
            self.acks_unanswered += 1
            self._ack_only.append(packet.packet_number)
            if len(self._ack_only) > MAX_ACK_ONLY_PACKETS:
                self._forget(self._ack_only.pop(0))
            return
        self.acks_unanswered = 0
        if len(space.sent_packets) > MAX_SENT_PACKETS:
            # probes of other paths pass the congestion window; given up, a packet's frames are sent again
            oldest = next(iter(space.sent_packets.values()))
            self.give_up([oldest], space, packet.sent_time or 0.0)

    def on_ack_received(self, *, ack_rangeset: RangeSet, ack_delay: float, now: float, space: QuicPacketSpace) -> None:
        largest = ack_rangeset.bounds().stop - 1
        if largest < next(iter(space.sent_packets), largest + 1):
            space.largest_acked_packet = max(space.largest_acked_packet, largest)
            return  # it says nothing new, and need not cost a copy of what was sent
        super().on_ack_received(ack_rangeset=ack_rangeset, ack_delay=ack_delay, now=now, space=space)

    def get_loss_detection_time(self, *, amplification_limited: bool) -> float | None:
        if amplification_limited or not self.handshake_confirmed:
            return super().get_loss_detection_time(amplification_limited=amplification_limited)
        space = self.spaces[-1]  # the others are discarded
        if space.loss_time is not None or not space.ack_eliciting_in_flight:
            return space.loss_time
        return self._time_of_last_sent_ack_eliciting_packet + self.get_probe_timeout() * (1 << self._pto_count)

    def _detect_loss(self, *, now: float, space: QuicPacketSpace) -> None:
        oldest = next(iter(space.sent_packets), None)
        if oldest is None or oldest > space.largest_acked_packet:
            space.loss_time = None
        else:
            super()._detect_loss(now=now, space=space)

    def _on_packets_lost(self, *, packets: Iterable[QuicSentPacket], **more: Any) -> None:
        lost = list(packets)
        if lost:
            self._on_lost()
        super()._on_packets_lost(packets=lost, **more)

    def give_up(self, packets: Iterable[QuicSentPacket], space: QuicPacketSpace, now: float) -> None:
        """Have the frames of `packets` sent again, which says nothing about congestion."""
        self._on_packets_lost(congestion_event=False, now=now, packets=packets, space=space)

    def expire(self, packet: QuicSentPacket) -> None:
        """Count a packet as in flight no longer, without loss."""
        if packet.in_flight:
            self._cc.on_packets_expired(packets=[packet])

    def begin_path(self, congestion_control_algorithm: str, max_datagram_size: int) -> None:
        """Begin as on a new connection: what is in flight elsewhere says nothing about this path (RFC 9000 9.4)."""
        for space in self.spaces:
            for packet in space.sent_packets.values():
                packet.in_flight = False
        self._cc = create_congestion_control(congestion_control_algorithm, max_datagram_size=max_datagram_size)
        self._pacer = QuicPacketPacer(max_datagram_size=max_datagram_size)
        self._pto_count = 0
        self.forget_round_trip_time()

    def forget_round_trip_time(self) -> None:
        """Measure the round trip anew, from the initial value."""
        self._rtt_initialized = False
        self._rtt_min = math.inf
        self._rtt_latest = self._rtt_smoothed = self._rtt_variance = 0.0

    def open_window(self, byte_count: int) -> tuple[int, float | None]:
        """Let `byte_count` more bytes leave at once; return what `restore_window` needs."""
        before = self._cc.congestion_window, self._pacer.packet_time
        self._cc.congestion_window = max(before[0], self._cc.bytes_in_flight + byte_count)
        self._pacer.packet_time = None
        return before

    def restore_window(self, before: tuple[int, float | None]) -> None:
        """End what `open_window` began."""
        self._cc.congestion_window, self._pacer.packet_time = before

    def release(self) -> None:
        """Drop the references to the connection: each packet knows the method to call at its delivery."""
        self._send_probe = self._on_lost = _do_nothing
        for space in self.spaces:
            space.sent_packets.clear()

    def _forget(self, packet_number: int) -> None:
        for space in self.spaces:
            packet = space.sent_packets.get(packet_number)
            if packet is not None and not packet.is_ack_eliciting:
                del space.sent_packets[packet_number]
                self.expire(packet)


def _do_nothing() -> None: ...
