"""When to acknowledge, and which ACK frames of the peer to refuse. Sans-IO."""

from __future__ import annotations

from typing import Final

from aioquic.quic.connection import QuicConnectionError, QuicReceiveContext
from aioquic.quic.packet import QuicErrorCode
from aioquic.quic.recovery import QuicPacketSpace

MAX_ACK_FRAMES_PER_PACKET: Final = 8
"""One says all there is to say about a packet number space."""
ACKS_BEFORE_PING: Final = 24
"""After that many packets which the peer need not acknowledge, one asks it to (RFC 9000 section 13.2.4)."""


class AckPolicy:
    """Moves the time of the next ACK of the 1-RTT space, and counts ACK frames within a packet."""

    def __init__(self) -> None:
        self._context: QuicReceiveContext | None = None
        self._frames = 0

    @staticmethod
    def on_datagram_received(space: QuicPacketSpace, now: float) -> None:
        """Report a gap at once (RFC 9000 section 13.2.1)."""
        if space.ack_at is not None and len(space.ack_queue) > 1:
            space.ack_at = min(space.ack_at, now)

    @staticmethod
    def on_sending(space: QuicPacketSpace, now: float) -> None:
        """Let an ACK that is due later ride in a packet that is sent now, where it costs less (section 13.2.1)."""
        if space.ack_at is not None:
            space.ack_at = min(space.ack_at, now)

    @staticmethod
    def wants_ping(acks_unanswered: int, space: QuicPacketSpace) -> bool:
        """Whether a PING must go with this ACK, so that the peer acknowledges it some day."""
        return acks_unanswered >= ACKS_BEFORE_PING and space.is_application_data

    def on_ack_frame(self, context: QuicReceiveContext, frame_type: int) -> None:
        """Count a frame of the packet that `context` describes; raises for one too many."""
        if context is not self._context:
            self._context, self._frames = context, 0
        self._frames += 1
        if self._frames > MAX_ACK_FRAMES_PER_PACKET:
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION,
                frame_type,
                f"more than {MAX_ACK_FRAMES_PER_PACKET} ACK frames in a packet",
            )
