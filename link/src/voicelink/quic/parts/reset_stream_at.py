"""RESET_STREAM_AT: a reset that still delivers the beginning of a stream (draft-ietf-quic-reliable-stream-reset).

WebTransport needs it: the beginning of a stream names its session, and a plain RESET_STREAM may reach a peer that has
not read it yet. Negotiated by an empty transport parameter on both sides; without it a plain reset is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aioquic._buffer import Buffer
from aioquic.buffer import UINT_VAR_MAX_SIZE, encode_uint_var
from aioquic.quic.connection import QuicConnectionError
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicResetStreamFrame, QuicStreamFrame
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.quic.stream import QuicStream, QuicStreamSender

RESET_STREAM_AT: Final = 0x24
PARAMETERS: Final = (0x17F7586D2CB571, 0x1D)
"""The transport parameter's identifier in the draft, and the short one that quic-go sends in its place."""

FRAME_CAPACITY: Final = 1 + 4 * UINT_VAR_MAX_SIZE


class PartialSender:
    """The sending half of a stream that was reset, but for its first `reliable_size` bytes.

    Stands where the stream's own sender stood. That one goes on with the reliable bytes, since packets in flight report
    to it; it is finished once they and the reset are acknowledged.
    """

    def __init__(self, sender: QuicStreamSender, error_code: int, reliable_size: int) -> None:
        self.reliable_size = reliable_size
        self._sender = sender
        self._reset_error_code = error_code
        self._is_reset_due = True
        self._is_reset_acked = False
        del sender._buffer[max(0, reliable_size - sender._buffer_start) :]
        self._forget_the_rest()

    @property
    def reset_pending(self) -> bool:
        """Whether to write the reset: behind the reliable bytes, as its final size must not exceed flow control."""
        return self._is_reset_due and self._sender.highest_offset >= self.reliable_size

    @property
    def highest_offset(self) -> int:
        """The highest offset that flow control has counted."""
        return self._sender.highest_offset

    @property
    def next_offset(self) -> int:
        """As the sender's."""
        return self._sender.next_offset

    @property
    def buffer_is_empty(self) -> bool:
        """Whether none of the reliable bytes waits to be sent."""
        return self._sender.buffer_is_empty

    @property
    def is_finished(self) -> bool:
        """Whether the peer has the reliable bytes and the reset, or had the whole stream before."""
        is_delivered = self._sender._buffer_start >= self.reliable_size
        return self._sender.is_finished or (self._is_reset_acked and is_delivered)

    def get_frame(self, max_size: int, max_offset: int | None = None) -> QuicStreamFrame | None:
        """As the sender's, up to the reliable size; what was lost behind it is not sent again."""
        self._forget_the_rest()
        return self._sender.get_frame(max_size, max_offset)

    def get_reset_frame(self) -> QuicResetStreamFrame:
        """The reset to write now; its reliable size is `reliable_size`."""
        self._is_reset_due = False
        return QuicResetStreamFrame(
            error_code=self._reset_error_code,
            final_size=self._sender.highest_offset,
            stream_id=self._sender._stream_id or 0,
        )

    def on_data_delivery(self, delivery: QuicDeliveryState, start: int, stop: int, fin: bool) -> None:
        """As the sender's."""
        self._sender.on_data_delivery(delivery, start, stop, fin)

    def on_reset_delivery(self, delivery: QuicDeliveryState) -> None:
        """Send the reset again if it was lost."""
        if delivery == QuicDeliveryState.ACKED:
            self._is_reset_acked = True
        else:
            self._is_reset_due = True

    def reset(self, error_code: int) -> None:
        """The peer wants none of it (STOP_SENDING), or the caller no more: a plain reset with the code of the first."""
        if self.reliable_size and not self.is_finished:
            self.reliable_size = 0
            self._is_reset_due = True
            self._forget_the_rest()

    def write(self, data: bytes, end_stream: bool = False) -> None:
        """Refuse, as the sender does after a reset."""
        raise RuntimeError("Cannot send data after the stream was reset")

    def _forget_the_rest(self) -> None:
        sender = self._sender
        if sender._buffer_stop > self.reliable_size:
            sender._pending.subtract(self.reliable_size, sender._buffer_stop)
        sender._pending_eof = False
        sender.buffer_is_empty = len(sender._pending) == 0


class ResetStreamAt:
    """Negotiates and encodes RESET_STREAM_AT."""

    def __init__(self) -> None:
        self.is_supported_by_peer = False

    def on_transport_parameters(self, parameters: Mapping[int, bytes]) -> None:
        """Look for the peer's parameter among all of its; raises for one with a value."""
        for value in (parameters[each] for each in PARAMETERS if each in parameters):
            if value:
                raise QuicConnectionError(
                    QuicErrorCode.TRANSPORT_PARAMETER_ERROR,
                    QuicFrameType.CRYPTO,
                    f"reset_stream_at has a value of {len(value)} bytes, it must be empty",
                )
            self.is_supported_by_peer = True

    @staticmethod
    def transport_parameters() -> bytes:
        """Encode this side's parameter, under each identifier that peers know."""
        return b"".join(encode_uint_var(each) + b"\0" for each in PARAMETERS)

    @staticmethod
    def reset(stream: QuicStream, error_code: int, reliable_size: int) -> None:
        """Reset a stream but for its first `reliable_size` bytes, as far as they were written."""
        sender = stream.sender
        reliable_size = min(reliable_size, sender._buffer_stop) if isinstance(sender, QuicStreamSender) else 0
        if reliable_size == 0 or sender._reset_error_code is not None or sender.is_finished:
            sender.reset(error_code)
        else:
            partial = PartialSender(sender, error_code, reliable_size)
            stream.sender = partial  # type: ignore[assignment]  # same shape

    @staticmethod
    def push_frame(buf: Buffer, sender: PartialSender) -> None:
        """Write what follows the frame type."""
        frame = sender.get_reset_frame()
        for value in (frame.stream_id, frame.error_code, frame.final_size, sender.reliable_size):
            buf.push_uint_var(value)

    @staticmethod
    def pull_frame(buf: Buffer, frame_type: int) -> tuple[int, int, bytes]:
        """Read what follows the frame type: stream ID, reliable size, and the rest as a RESET_STREAM frame's body."""
        stream_id, error_code, final_size, reliable_size = (buf.pull_uint_var() for _ in range(4))
        if reliable_size > final_size:
            raise QuicConnectionError(
                QuicErrorCode.FRAME_ENCODING_ERROR, frame_type, f"reliable size {reliable_size} of {final_size} bytes"
            )
        plain = b"".join(encode_uint_var(value) for value in (stream_id, error_code, final_size))
        return stream_id, reliable_size, plain
