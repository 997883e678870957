"""Receive windows: what a peer may make this side keep. Sans-IO.

aioquic raises its limits by the highest offset a peer names, and allocates the gaps; here limits follow what was
delivered to the application.
"""

from __future__ import annotations

from collections.abc import Iterable

from aioquic.quic.connection import Limit
from aioquic.quic.stream import QuicStream

from voicelink.quic.limits.reassembly import ReassemblyBudget, StreamReceiver


class ReceiveWindows:
    """The windows of one connection and of its streams, in bytes, and the budget that all streams share."""

    def __init__(self, connection_bytes: int, stream_bytes: int) -> None:
        self.budget = ReassemblyBudget()
        self.unread_bytes = 0
        """What the application took, and has not read yet."""
        self._connection_bytes = connection_bytes
        self._stream_bytes = stream_bytes
        self._connection_low = connection_bytes - connection_bytes // 2
        """A limit is raised once no more of the window than this is left."""
        self._stream_low = stream_bytes - stream_bytes // 2

    def adopt(self, streams: Iterable[QuicStream]) -> None:
        """Give streams that are new a receive half whose memory is bounded."""
        for stream in streams:
            stream.receiver = StreamReceiver(stream.stream_id or 0, self.budget)  # type: ignore[assignment]  # same shape

    def raise_connection_limit(self, limit: Limit) -> None:
        """Raise MAX_DATA once half the window was delivered."""
        if self.is_connection_raise_due(limit):
            limit.value = self.budget.delivered_bytes - self.unread_bytes + self._connection_bytes

    def stream_limit(self, stream: QuicStream) -> int:
        """Return the MAX_STREAM_DATA that the peer should know; what it knows, where there is nothing to say."""
        limit = stream.max_stream_data_local
        if not limit or stream.receiver.is_finished:
            return stream.max_stream_data_local_sent
        wanted = stream.receiver.starting_offset() + self._stream_bytes
        return wanted if wanted - limit >= self._stream_bytes // 2 else limit

    def is_raise_due(self, delivered: int, stream: QuicStream, limit: Limit) -> bool:
        """Whether half the window of an unfinished stream, `delivered` so far, or of the connection was delivered."""
        return stream.max_stream_data_local - delivered <= self._stream_low or self.is_connection_raise_due(limit)

    def is_connection_raise_due(self, limit: Limit) -> bool:
        """Whether half the connection's window was delivered and read."""
        return limit.value - self.budget.delivered_bytes + self.unread_bytes <= self._connection_low

    def is_due(self, stream: QuicStream) -> bool:
        """Whether a frame other than STREAM is to be written for a stream, or it is finished."""
        return (
            stream.sender.reset_pending
            or stream.receiver.stop_pending
            or stream.is_finished
            or self.stream_limit(stream) != stream.max_stream_data_local_sent
        )


def is_streams_raise_due(limit: Limit) -> bool:
    """Whether aioquic raises MAX_STREAMS now: once the peer has fewer left to open than it gains by that."""
    return limit.value != limit.sent and limit.sent - limit.used < limit.value - limit.sent
