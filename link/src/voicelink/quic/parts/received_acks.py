"""ACK frames of the peer: which to refuse, and what follows from one beside loss recovery. Sans-IO."""

from __future__ import annotations

from aioquic.quic.connection import QuicConnectionError
from aioquic.quic.packet import QuicErrorCode
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.tls import Epoch

from voicelink.quic.handshake.own_parameters import MAX_UDP_PAYLOAD_BYTES
from voicelink.quic.limits.recovery import BoundedRecovery
from voicelink.quic.limits.workload import Workload
from voicelink.quic.parts.minimum_window import MinimumWindow
from voicelink.quic.parts.paths import Paths


class ReceivedAcks:
    """Looks at each ACK frame before loss recovery takes it, and tells the other parts of it afterwards."""

    __slots__ = ("_loss", "_minimum_window", "_paths", "_workload")

    def __init__(self, loss: BoundedRecovery, workload: Workload, paths: Paths, minimum_window: MinimumWindow) -> None:
        self._loss = loss
        self._workload = workload
        self._paths = paths
        self._minimum_window = minimum_window

    def check(self, largest: int, more_ranges: int, epoch: Epoch, frame_type: int) -> None:
        """Count the work of a frame of `more_ranges` after the first; raises for a packet that was never sent."""
        if largest > self._loss.largest_sent.get(epoch, -1):
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION, frame_type, f"packet {largest} was acknowledged, but never sent"
            )
        self._workload.units += min(more_ranges, MAX_UDP_PAYLOAD_BYTES)  # more than a datagram can name are none

    def follow(self, former_largest: int, space: QuicPacketSpace, now: float) -> None:
        """Loss recovery took a frame while `former_largest` was the newest packet that was acknowledged."""
        largest = space.largest_acked_packet
        if space.is_application_data and self._paths.is_round_trip_foreign(largest):
            self._loss.forget_round_trip_time()
        if largest > former_largest:
            self._minimum_window.on_acked(now)
