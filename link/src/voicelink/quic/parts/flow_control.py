"""Streams and their limits: what a peer may make this side keep, and what of it is still to be sent.

aioquic raises its limits by the highest offset a peer names, and allocates the gaps; here limits follow what was
delivered to the application.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import aioquic
from aioquic._buffer import Buffer
from aioquic.buffer import size_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import (
    END_STATES,
    MAX_STREAM_DATA_FRAME_CAPACITY,
    QuicConnection,
    QuicConnectionError,
    QuicReceiveContext,
    stream_is_unidirectional,
)
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream

from voicelink.quic.limits.reassembly import ReassemblyBudget, ReassemblyOverflowError, StreamReceiver

AIOQUIC_VERSION: Final = "1.7.2"
if aioquic.__version__ != AIOQUIC_VERSION:
    raise ImportError(f"aioquic is {aioquic.__version__}, this package is written against {AIOQUIC_VERSION}")

# Every malformed packet is worth a counter, not a line: whoever floods the port would own the disk.
logging.getLogger("quic").setLevel(logging.ERROR)

_SHORT_HEADER_OVERHEAD: Final = 1 + 2 + 16  # first byte, packet number, AEAD tag


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """What does not belong to aioquic's configuration.

    `ack_delay_s` must stay below the 25 ms that are advertised: a frame every 20 ms then costs an ACK for one or two
    of them. `max_streams` bounds how many streams of each type a peer may have open. `max_queued_datagrams` bounds
    how stale a DATAGRAM can get behind a closed congestion window; the oldest is dropped.

    A server reads up to `max_packets_per_s` of one connection, in bursts of as many, and drops the rest unread; raise
    it where one client sends more than 10 Mbit/s. While all connections together take more than half of a core, each
    has `busy_packets_per_s`. `max_datagram_frames_per_s` goes to the application. A voice needs 150 of both, with every
    frame repeated twice.
    """

    ack_delay_s: float = 0.020
    max_streams: int = 256
    max_queued_datagrams: int = 16
    max_packets_per_s: int = 1500
    busy_packets_per_s: int = 200
    max_datagram_frames_per_s: int = 500


class FlowControl(QuicConnection):
    """Reassembly, flow control and DATAGRAM frames."""

    def __init__(self, *, configuration: QuicConfiguration, options: ConnectionOptions, **more: Any) -> None:
        super().__init__(configuration=configuration, **more)
        self.options = options
        self.datagrams_dropped = 0
        self.unread_bytes = 0
        """What the application took, and has not read yet: connection flow control holds so much back."""
        self._budget = ReassemblyBudget()
        self._ack_delay = options.ack_delay_s
        for limit in (self._local_max_streams_bidi, self._local_max_streams_uni):
            limit.value = limit.sent = options.max_streams

    @property
    def is_ended(self) -> bool:
        """Whether the connection is closing, draining or gone: what is queued now is never sent."""
        return self._close_event is not None or self._state in END_STATES

    def is_receiving(self, stream_id: int) -> bool:
        """Whether the peer may still send on the stream, so that `stop_stream` makes sense."""
        stream = self._streams.get(stream_id)
        return stream is not None and not stream.receiver.is_finished

    def is_delivered(self, stream_id: int) -> bool:
        """Whether all that was sent on a stream, its end included, has been acknowledged, or it was reset."""
        stream = self._streams.get(stream_id)
        return stream is None or stream.sender.is_finished

    @property
    def max_datagram_bytes(self) -> int:
        """The largest payload that a DATAGRAM frame to this peer can hold now; 0 where the peer takes none."""
        room = self._max_datagram_size - _SHORT_HEADER_OVERHEAD - len(self._peer_cid.cid)
        return max(0, min(room, self._remote_max_datagram_frame_size or 0) - 1 - size_uint_var(room))

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """As aioquic's, but a stream that the peer stopped meanwhile swallows what is sent instead of raising."""
        stream = self._streams.get(stream_id)
        is_stopped = stream is not None and stream.sender._reset_error_code is not None
        if not is_stopped and not (self._stream_can_send(stream_id) and self._stream_is_discarded(stream_id)):
            super().send_stream_data(stream_id, data, end_stream)

    def offer_datagram(self, data: bytes) -> bool:
        """Queue a DATAGRAM frame; returns False, and drops it, if the peer or the path cannot take one so large.

        One that never fits would block all later ones, and behind a closed congestion window old ones only get older.
        """
        if len(data) > self.max_datagram_bytes:
            self.datagrams_dropped += 1
            return False
        if len(self._datagrams_pending) >= self.options.max_queued_datagrams:
            self._datagrams_pending.popleft()
            self.datagrams_dropped += 1
        self._datagrams_pending.append(data)
        return True

    def _has_limit_to_raise(self) -> bool:
        self._raise_data_limit()
        limits = (self._local_max_data, self._local_max_streams_bidi, self._local_max_streams_uni)
        return any(limit.value != limit.sent for limit in limits)

    def _is_idle(self, stream: QuicStream) -> bool:
        sender = stream.sender
        return (
            sender.buffer_is_empty
            and not sender.reset_pending
            and not stream.receiver.stop_pending
            and not stream.is_finished
            and self._stream_limit_wanted(stream) == stream.max_stream_data_local_sent
        )

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> QuicStream:
        known = len(self._streams_queue)
        stream = super()._get_or_create_stream(frame_type, stream_id)
        self._adopt(self._streams_queue[known:])
        return stream

    def _get_or_create_stream_for_send(self, stream_id: int) -> QuicStream:
        known = len(self._streams_queue)
        stream = super()._get_or_create_stream_for_send(stream_id)
        if not stream_is_unidirectional(stream_id):
            self._adopt(self._streams_queue[known:])
        return stream

    def _adopt(self, streams: Iterable[QuicStream]) -> None:
        for stream in streams:
            stream.receiver = StreamReceiver(stream.stream_id or 0, self._budget)  # type: ignore[assignment]  # same shape

    def _handle_stream_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        try:
            super()._handle_stream_frame(context, frame_type, buf)
        except ReassemblyOverflowError as overflow:
            raise QuicConnectionError(
                QuicErrorCode.INTERNAL_ERROR, frame_type, f"more than {self._budget.max_chunks} gaps in streams"
            ) from overflow
        if self._budget.resets:
            self._events.extend(self._budget.resets)
            self._budget.resets.clear()

    def _raise_data_limit(self) -> None:
        limit = self._local_max_data
        window = self._configuration.max_data
        wanted = self._budget.delivered_bytes - self.unread_bytes + window
        if wanted - limit.value >= window // 2:
            limit.value = wanted

    def _stream_limit_wanted(self, stream: QuicStream) -> int:
        limit = stream.max_stream_data_local
        if not limit or stream.receiver.is_finished:
            return stream.max_stream_data_local_sent
        window = self._configuration.max_stream_data
        wanted = stream.receiver.starting_offset() + window
        return wanted if wanted - limit >= window // 2 else limit

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        self._raise_data_limit()
        limit = self._local_max_data
        used, limit.used = limit.used, 0  # hides the bytes named, by which aioquic would double the limit
        try:
            super()._write_connection_limits(builder, space)
        finally:
            limit.used = used

    def _write_stream_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream) -> None:
        wanted = self._stream_limit_wanted(stream)
        if wanted == stream.max_stream_data_local_sent:
            return
        buf = builder.start_frame(
            QuicFrameType.MAX_STREAM_DATA,
            capacity=MAX_STREAM_DATA_FRAME_CAPACITY,
            handler=self._on_max_stream_data_delivery,
            handler_args=(stream,),
        )
        buf.push_uint_var(stream.stream_id or 0)
        buf.push_uint_var(wanted)
        stream.max_stream_data_local = stream.max_stream_data_local_sent = wanted
