"""Loss recovery whose memory, and whose cost for each ACK frame, a peer cannot raise."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.recovery import QuicPacketRecovery, QuicPacketSpace
from aioquic.tls import Epoch

MAX_SENT_PACKETS: Final = 2048
"""Packets on record in one packet number space. The congestion window reaches 2.4 MB before it is limited by this."""
MAX_ACK_ONLY_PACKETS: Final = 32
"""Of these, packets that hold nothing to send again. The acknowledgement of a recent one shortens the next ACK."""
ACKS_BEFORE_PING: Final = 24
"""After that many packets which the peer need not acknowledge, one asks it to (RFC 9000 section 13.2.4)."""


class BoundedRecovery(QuicPacketRecovery):
    """aioquic's loss recovery, with a limit to what it remembers of packets that are never acknowledged."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.largest_sent: dict[Epoch, int] = {}
        """The newest packet number of each encryption level; 0-RTT counts as 1-RTT."""
        self.acks_unanswered = 0
        """Packets sent since the last one that asks for an acknowledgement."""
        self._ack_only: deque[int] = deque()

    def on_packet_sent(self, *, packet: QuicSentPacket, space: QuicPacketSpace) -> None:
        super().on_packet_sent(packet=packet, space=space)
        self.largest_sent[packet.epoch] = packet.packet_number
        if not packet.is_ack_eliciting:
            self.acks_unanswered += 1
            self._ack_only.append(packet.packet_number)
            if len(self._ack_only) > MAX_ACK_ONLY_PACKETS:
                self._forget(self._ack_only.popleft())
            return
        self.acks_unanswered = 0
        if len(space.sent_packets) > MAX_SENT_PACKETS:
            # probes of other paths pass the congestion window; given up, a packet's frames are sent again
            oldest = next(iter(space.sent_packets.values()))
            self._on_packets_lost(congestion_event=False, now=packet.sent_time or 0.0, packets=[oldest], space=space)

    def on_ack_received(self, *, ack_rangeset: RangeSet, ack_delay: float, now: float, space: QuicPacketSpace) -> None:
        largest = ack_rangeset.bounds().stop - 1
        if largest < next(iter(space.sent_packets), largest + 1):
            space.largest_acked_packet = max(space.largest_acked_packet, largest)
            return  # it says nothing new, and need not cost a copy of what was sent
        super().on_ack_received(ack_rangeset=ack_rangeset, ack_delay=ack_delay, now=now, space=space)

    def _forget(self, packet_number: int) -> None:
        for space in self.spaces:
            packet = space.sent_packets.get(packet_number)
            if packet is not None and not packet.is_ack_eliciting:
                del space.sent_packets[packet_number]
                if packet.in_flight:
                    self._cc.on_packets_expired(packets=[packet])
