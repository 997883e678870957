"""Builds the 1-RTT packets of a steady connection: ACK, DATAGRAM and STREAM frames, the same bytes as aioquic's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aioquic._buffer import Buffer
from aioquic.buffer import size_uint_var
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicFrameType, QuicPacketType, push_ack_frame
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.stream import QuicStream, QuicStreamSender
from aioquic.tls import Epoch

from voicelink.quic.fast_path.keys import MAX_NUMBER_BYTES, NONCE_BYTES, SAMPLE_BYTES, TAG_BYTES, Keys
from voicelink.quic.fast_path.sendable import has_data, sendable_end
from voicelink.quic.fast_path.steady_state import SteadyState
from voicelink.quic.limits.recovery import BoundedRecovery
from voicelink.quic.parts.ack_policy import AckPolicy

_EPOCH: Final = Epoch.ONE_RTT
_PACKET_TYPE: Final = QuicPacketType.ONE_RTT
_FIXED_BIT: Final = 0x40
_NUMBER_BYTES: Final = 2
_SAMPLE: Final = slice(MAX_NUMBER_BYTES - _NUMBER_BYTES, MAX_NUMBER_BYTES - _NUMBER_BYTES + SAMPLE_BYTES)
_ACK: Final = int(QuicFrameType.ACK)
_STREAM_WITH_LENGTH: Final = int(QuicFrameType.STREAM_BASE) | 2
_OFFSET: Final = 4
_DATAGRAM_WITH_LENGTH: Final = int(QuicFrameType.DATAGRAM_WITH_LENGTH)
_PINGS_EVERY: Final = 8
"""aioquic asks for the acknowledgement of an ACK with gaps in each packet whose number this divides."""
_NOT_LOGGED: Final[list[dict[str, Any]]] = []

_Handlers = list[tuple[Any, Sequence[Any]]]


class FastSender:
    """The sending half of the fast path, for as long as the connection is steady."""

    __slots__ = (
        "_cid",
        "_connection",
        "_encrypt",
        "_first",
        "_header_bytes",
        "_iv",
        "_loss",
        "_mask",
        "_path",
        "_space",
        "_state",
    )

    def __init__(self, connection: QuicConnection, state: SteadyState, loss: BoundedRecovery, keys: Keys) -> None:
        self._connection = connection
        self._state = state
        self._loss = loss
        self._path = connection._network_paths[0]
        self._cid = connection._peer_cid.cid
        self._header_bytes = 1 + len(self._cid) + _NUMBER_BYTES
        self._mask = keys.header.update
        self._encrypt = keys.aead.encrypt
        self._iv = keys.iv
        self._first = _FIXED_BIT | connection._cryptos[Epoch.ONE_RTT].key_phase << 2 | _NUMBER_BYTES - 1
        self._space = connection._spaces[Epoch.ONE_RTT]

    def datagrams(self, now: float) -> list[tuple[bytes, Any]] | None:
        """Return what may be sent now; `None`, and nothing changed, if aioquic must build it."""
        connection, space, loss = self._connection, self._space, self._loss
        is_acking = space.ack_at is not None
        if is_acking and self._is_ping_due():
            return None
        waiting = self._waiting()
        if waiting and any(type(each.sender) is not QuicStreamSender for each in waiting):
            return None
        pending = connection._datagrams_pending
        room = connection._max_datagram_size - self._header_bytes - TAG_BYTES
        flight = loss.congestion_window - loss.bytes_in_flight if waiting or pending else 0
        packets: list[QuicSentPacket] = []
        datagrams: list[tuple[bytes, Any]] = []
        connection._pacing_at = None
        while waiting or pending or is_acking:
            if space.ack_at is None or space.ack_at >= now:  # an ACK that is late does not wait for the pacer
                connection._pacing_at = loss._pacer.next_send_time(now=now)
                if connection._pacing_at is not None:
                    break
            body = bytearray()
            handlers: _Handlers = []
            if is_acking:
                is_acking = False
                self._put_ack(body, handlers, room, now)
            most = min(room, flight - self._header_bytes - TAG_BYTES)
            head = len(body)
            while pending and 1 + size_uint_var(len(pending[0])) + len(pending[0]) <= most - len(body):
                data = pending.popleft()
                body.append(_DATAGRAM_WITH_LENGTH)
                _put_varint(body, len(data))
                body += data
            if waiting:
                self._put_streams(waiting, body, handlers, most)
                waiting = self._waiting()
            if not body:
                break
            datagram = self._sealed(body)
            is_ack_eliciting = len(body) > head
            packets.append(
                QuicSentPacket(
                    epoch=_EPOCH,
                    in_flight=is_ack_eliciting,
                    is_ack_eliciting=is_ack_eliciting,
                    is_crypto_packet=False,
                    packet_number=connection._packet_number,
                    packet_type=_PACKET_TYPE,
                    sent_time=now,
                    sent_bytes=len(datagram),
                    delivery_handlers=handlers,
                    quic_logger_frames=_NOT_LOGGED,
                )
            )
            connection._packet_number += 1
            datagrams.append((datagram, self._path.addr))
            if is_ack_eliciting:
                flight -= len(datagram)
            loss._pacer.update_after_send(now=now)
        self._register(packets, now)
        self._state.has_stream_data = bool(waiting)
        return datagrams

    def _is_ping_due(self) -> bool:
        """Whether an ACK needs a PING beside it, which aioquic writes."""
        connection, space = self._connection, self._space
        has_gaps = len(space.ack_queue) > 1
        return (has_gaps and connection._packet_number % _PINGS_EVERY == 0) or AckPolicy.wants_ping(
            self._loss.acks_unanswered, space
        )

    def _waiting(self) -> list[QuicStream]:
        """The streams that have something to send and may, in the order of their turns."""
        if not self._state.has_stream_data:
            return []
        connection = self._connection
        return [
            each for each in connection._streams_queue if not each.sender.buffer_is_empty and has_data(connection, each)
        ]

    def _put_ack(self, body: bytearray, handlers: _Handlers, room: int, now: float) -> None:
        connection, space = self._connection, self._space
        delay = int((now - (space.largest_received_time or 0.0)) * 1_000_000) >> connection._local_ack_delay_exponent
        body.append(_ACK)
        if len(space.ack_queue) == 1:
            only = space.ack_queue[0]
            largest = only.stop - 1
            _put_varint(body, largest)
            _put_varint(body, delay)
            body.append(0)
            _put_varint(body, largest - only.start)
        else:
            buf = Buffer(capacity=room)
            push_ack_frame(buf, space.ack_queue, delay, room - 1)
            body += buf.data
        handlers.append((connection._on_ack_delivery, (space, space.largest_received_packet)))
        space.ack_at = None

    def _put_streams(self, waiting: list[QuicStream], body: bytearray, handlers: _Handlers, most: int) -> None:
        """Write a STREAM frame of each stream, as far as the packet and flow control have room."""
        connection = self._connection
        served: set[QuicStream] = set()
        for stream in waiting:
            sender, stream_id = stream.sender, stream.stream_id or 0
            offset = sender.next_offset
            overhead = 3 + size_uint_var(stream_id) + (size_uint_var(offset) if offset else 0)
            before = sender.highest_offset
            frame = sender.get_frame(most - len(body) - overhead, sendable_end(connection, stream))
            if frame is None:
                continue
            offset, data = frame.offset, frame.data
            body.append(_STREAM_WITH_LENGTH | (_OFFSET if offset else 0) | frame.fin)
            _put_varint(body, stream_id)
            if offset:
                _put_varint(body, offset)
            body += (len(data) | 0x4000).to_bytes(2, "big")
            body += data
            handlers.append((sender.on_data_delivery, (offset, offset + len(data), frame.fin)))
            if not (len(sender._pending) or sender._pending_eof):
                sender.buffer_is_empty = True
            if sender.highest_offset > before:
                connection._remote_max_data_used += sender.highest_offset - before
                served.add(stream)
        queue = connection._streams_queue
        if served and not (len(served) == 1 and queue[-1] in served):
            connection._streams_queue = [each for each in queue if each not in served]
            connection._streams_queue.extend(served)

    def _sealed(self, body: bytearray) -> bytes:
        """Encrypt a packet, and protect its header (RFC 9001 sections 5.3 and 5.4)."""
        connection = self._connection
        number = connection._packet_number
        first = self._first | connection._spin_bit << 5
        short = number & 0xFFFF
        header = b"%c%b%b" % (first, self._cid, short.to_bytes(_NUMBER_BYTES, "big"))
        protected = self._encrypt((self._iv ^ number).to_bytes(NONCE_BYTES, "big"), body, header)
        mask = self._mask(protected[_SAMPLE])
        short ^= mask[1] << 8 | mask[2]
        return b"%c%b%b%b" % (
            first ^ mask[0] & 0x1F,
            self._cid,
            short.to_bytes(_NUMBER_BYTES, "big"),
            protected,
        )

    def _register(self, packets: list[QuicSentPacket], now: float) -> None:
        connection = self._connection
        for packet in packets:
            self._loss.on_packet_sent(packet=packet, space=self._space)
            if packet.is_ack_eliciting and not connection._ack_eliciting_sent_since_receipt:
                connection._close_at = now + self._state.idle_timeout_s
                connection._ack_eliciting_sent_since_receipt = True
            self._path.bytes_sent += packet.sent_bytes


def _put_varint(out: bytearray, value: int) -> None:
    if value < 1 << 6:
        out.append(value)
    elif value < 1 << 14:
        out += (value | 1 << 14).to_bytes(2, "big")
    elif value < 1 << 30:
        out += (value | 2 << 30).to_bytes(4, "big")
    else:
        out += (value | 3 << 62).to_bytes(8, "big")
