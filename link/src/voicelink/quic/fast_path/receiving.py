"""Receives the 1-RTT packets of a steady connection: STREAM, DATAGRAM, ACK, PING, MAX_DATA and PADDING frames."""

from __future__ import annotations

from contextlib import suppress
from struct import Struct
from typing import Any, Final

from aioquic._buffer import Buffer
from aioquic.quic.connection import QuicConnection, QuicConnectionError, QuicReceiveContext
from aioquic.quic.packet import QuicFrameType
from aioquic.quic.recovery import MAX_ACK_RANGES
from aioquic.quic.stream import StreamFinishedError
from aioquic.tls import Epoch
from cryptography.exceptions import InvalidTag

from voicelink.quic.events import DatagramFrameReceived
from voicelink.quic.fast_path.keys import MAX_NUMBER_BYTES, NONCE_BYTES, SAMPLE_BYTES, Keys
from voicelink.quic.fast_path.parts import Parts
from voicelink.quic.fast_path.steady_state import SteadyState
from voicelink.quic.limits.reassembly import StreamReceiver
from voicelink.quic.limits.workload import FRAME_UNITS

_FIXED_BIT: Final = 0x40
_SPIN_BIT: Final = 0x20
_RESERVED_AND_KEY_PHASE_BITS: Final = 0x18 | 0x04
_MAX_VARINT: Final = (1 << 62) - 1
_ONE_BYTE: Final = 0x40
"""Varints below it have one byte, which says their value."""
_four_bytes: Final = Struct("!I").unpack_from

_PADDING: Final = int(QuicFrameType.PADDING)
_PING: Final = int(QuicFrameType.PING)
_ACK: Final = int(QuicFrameType.ACK)
_STREAM: Final = int(QuicFrameType.STREAM_BASE)
_FIN, _LENGTH, _OFFSET = 1, 2, 4
_MAX_DATA: Final = int(QuicFrameType.MAX_DATA)
_DATAGRAM: Final = int(QuicFrameType.DATAGRAM)
_DATAGRAM_WITH_LENGTH: Final = int(QuicFrameType.DATAGRAM_WITH_LENGTH)

_Frame = tuple[Any, ...]
"""The frame type, and what is behind it: see `_frames`."""


class AckedRanges(tuple[range, ...]):
    """The ranges of an ACK frame from the lowest up, as aioquic's loss recovery reads them."""

    __slots__ = ()

    def bounds(self) -> range:
        """From the lowest to the highest packet number."""
        return range(self[0].start, self[-1].stop)


class FastReceiver:
    """The receiving half of the fast path, for as long as the connection is steady.

    `take` decrypts a packet and looks at all its frames before it changes anything. A STREAM frame that is not simply
    the next of its stream goes to the connection's own handler, which knows every case of it.
    """

    __slots__ = (
        "_address",
        "_cid",
        "_connection",
        "_decrypt",
        "_endable",
        "_iv",
        "_key_phase",
        "_mask",
        "_max_datagram_frame_size",
        "_min_bytes",
        "_number_at",
        "_received_acks",
        "_sample_at",
        "_space",
        "_state",
        "_windows",
        "_workload",
    )

    def __init__(self, connection: QuicConnection, state: SteadyState, parts: Parts, keys: Keys) -> None:
        self._connection = connection
        self._state = state
        self._workload, self._windows, self._received_acks = parts.workload, parts.windows, parts.received_acks
        self._address = connection._network_paths[0].addr
        self._cid = connection.host_cid
        self._number_at = 1 + len(self._cid)
        self._sample_at = self._number_at + MAX_NUMBER_BYTES
        self._min_bytes = self._sample_at + SAMPLE_BYTES
        self._mask = keys.header.update
        self._decrypt = keys.aead.decrypt
        self._iv = keys.iv
        self._key_phase = connection._cryptos[Epoch.ONE_RTT].recv.key_phase << 2
        self._space = connection._spaces[Epoch.ONE_RTT]
        self._max_datagram_frame_size = connection._configuration.max_datagram_frame_size or 0
        self._endable = tuple(each for each in connection._streams_queue if each.receiver.is_finished)

    def is_for_path(self, data: bytes, address: Any) -> bool:
        """Whether a datagram has the short header, connection ID and address of the active path."""
        number_at = self._number_at
        return (
            len(data) >= self._min_bytes
            and data[0] & 0xC0 == _FIXED_BIT
            and data[1:number_at] == self._cid
            and address == self._address
        )

    def take(self, data: bytes, now: float) -> bool:
        """Take a datagram that `is_for_path`; return False, and change nothing, if aioquic must."""
        number_at = self._number_at
        mask = self._mask(data[self._sample_at : self._min_bytes])
        first = data[0] ^ mask[0] & 0x1F
        if first & _RESERVED_AND_KEY_PHASE_BITS != self._key_phase:
            return False
        number_bytes = (first & 3) + 1
        end = number_at + number_bytes
        truncated = (_four_bytes(data, number_at)[0] ^ _four_bytes(mask, 1)[0]) >> 32 - 8 * number_bytes
        space = self._space
        number = _packet_number(truncated, 1 << 8 * number_bytes, space.expected_packet_number)
        header = b"%c%b%b" % (first, self._cid, truncated.to_bytes(number_bytes, "big"))
        try:
            payload = self._decrypt((self._iv ^ number).to_bytes(NONCE_BYTES, "big"), data[end:], header)
        except InvalidTag:
            return False
        newest = space.largest_received_packet
        if number <= newest and number in space.received_packets:
            return True
        frames = self._frames(payload)
        if not frames:
            return False
        self._accept(number, bool(first & _SPIN_BIT))
        connection = self._connection
        try:
            is_ack_eliciting = self._handle(frames, payload, now)
        except QuicConnectionError as error:
            connection.close(error.error_code, error.frame_type, error.reason_phrase)
            return True
        connection._close_at = now + self._state.idle_timeout_s
        connection._ack_eliciting_sent_since_receipt = False
        if number > newest:
            space.largest_received_packet = number
            space.largest_received_time = now
        space.ack_queue.add(number)
        space.received_packets.add(number)
        if number != newest + 1 and len(space.ack_queue) > MAX_ACK_RANGES:
            space.ack_queue.shift()
        if is_ack_eliciting and space.ack_at is None:
            space.ack_at = now + connection._ack_delay
        return True

    def _accept(self, number: int, spin_bit: bool) -> None:
        """A packet is genuine and new: note its number and spin bit (RFC 9000 sections 17.1 and 17.4)."""
        connection, space = self._connection, self._space
        if number > space.expected_packet_number:
            space.expected_packet_number = number + 1
        if number > connection._spin_highest_pn:
            connection._spin_bit = spin_bit is not connection._is_client
            connection._spin_highest_pn = number

    def _frames(self, payload: bytes) -> list[_Frame]:
        """Parse all frames; empty if one of them is of another type or malformed, or there is none.

        Each is its type, the offset behind its type, the offset of its end, and: for a STREAM frame the stream's ID,
        the data's offset in the stream, and in `payload`; for a DATAGRAM frame the data's offset in `payload`; for an
        ACK frame the delay as encoded, and the ranges; for MAX_DATA the limit.
        """
        frames: list[_Frame] = []
        offset, end = 0, len(payload)
        has_ack = False
        try:
            while offset < end:
                kind = payload[offset]
                start = offset = offset + 1
                if kind & 0xF8 == _STREAM:
                    stream_id, offset = payload[offset], offset + 1
                    if stream_id >= _ONE_BYTE:
                        stream_id, offset = _varint(payload, start)
                    position = 0
                    if kind & _OFFSET:
                        position, offset = _varint(payload, offset)
                    if kind & _LENGTH:
                        length, offset = _varint(payload, offset)
                        begin, offset = offset, offset + length
                    else:
                        begin, offset = offset, end
                    if begin > end or position + offset - begin > _MAX_VARINT:
                        return []
                    frames.append((kind, start, offset, stream_id, position, begin))
                elif kind == _ACK:
                    if has_ack:
                        return []
                    has_ack = True
                    delay, ranges, offset = _ack(payload, offset)
                    if ranges[0].start < 0:
                        return []
                    frames.append((kind, start, offset, delay, ranges))
                elif kind in (_DATAGRAM, _DATAGRAM_WITH_LENGTH):
                    length = end - offset
                    if kind == _DATAGRAM_WITH_LENGTH:
                        length, offset = _varint(payload, offset)
                    begin, offset = offset, offset + length
                    if offset - start >= self._max_datagram_frame_size:
                        return []
                    frames.append((kind, start, offset, begin))
                elif kind == _PING:
                    frames.append((kind, start, offset))
                elif kind == _PADDING:
                    offset = end - len(payload[offset:].lstrip(b"\0"))
                    frames.append((kind, start, offset))
                elif kind == _MAX_DATA:
                    limit, offset = _varint(payload, offset)
                    frames.append((kind, start, offset, limit))
                else:
                    return []
        except IndexError:
            return []
        return frames if offset == end else []

    def _handle(self, frames: list[_Frame], payload: bytes, now: float) -> bool:
        """Act on the frames in order, and return whether they ask for an acknowledgement."""
        connection, workload = self._connection, self._workload
        is_ack_eliciting = False
        for frame in frames:
            kind = frame[0]
            workload.units += FRAME_UNITS[kind]
            if kind & 0xF8 == _STREAM:
                is_ack_eliciting = True
                self._stream(frame, payload, now)
            elif kind == _ACK:
                self._acknowledged(frame[3], frame[4], now)
            elif kind == _PING:
                is_ack_eliciting = True
            elif kind == _MAX_DATA:
                is_ack_eliciting = True
                if frame[3] > connection._remote_max_data:
                    connection._remote_max_data = frame[3]
                    self._state.end()  # streams that were blocked may send
            elif kind != _PADDING:
                is_ack_eliciting = True
                if workload.admits_datagram_frame(now):
                    connection._events.append(DatagramFrameReceived(payload[frame[3] : frame[2]]))
        return is_ack_eliciting

    def _stream(self, frame: _Frame, payload: bytes, now: float) -> None:
        kind, start, end, stream_id, position, begin = frame
        connection = self._connection
        stream = connection._streams.get(stream_id)
        if stream is not None and not kind & _FIN:
            limit = connection._local_max_data
            receiver: object = stream.receiver  # of ours where the peer may send
            length = end - begin
            if (
                position + length <= stream.max_stream_data_local
                and limit.used + length <= limit.value
                and isinstance(receiver, StreamReceiver)
            ):
                event = receiver.append(position, payload[begin:end])
                if event is not None:
                    limit.used += length
                    connection._events.append(event)
                    if self._windows.is_raise_due(position + length, stream, limit):
                        self._state.end()
                    return
        self._state.end()
        context = QuicReceiveContext(
            epoch=Epoch.ONE_RTT,
            host_cid=self._cid,
            network_path=connection._network_paths[0],
            quic_logger_frames=None,
            time=now,
            version=None,
        )
        with suppress(StreamFinishedError):  # its state was discarded: the frame is late
            connection._handle_stream_frame(context, kind, Buffer(data=payload[start:end]))

    def _acknowledged(self, delay: int, ranges: AckedRanges, now: float) -> None:
        connection, space, received_acks = self._connection, self._space, self._received_acks
        former_largest = space.largest_acked_packet
        received_acks.check(ranges[-1].stop - 1, len(ranges) - 1, Epoch.ONE_RTT, _ACK)
        connection._loss.on_ack_received(
            ack_rangeset=ranges,  # type: ignore[arg-type]  # what recovery needs of it
            ack_delay=(delay << connection._remote_ack_delay_exponent) / 1_000_000,
            now=now,
            space=space,
        )
        received_acks.follow(former_largest, space, now)
        self._state.idle_timeout_s = connection._idle_timeout()
        for stream in self._endable:
            if stream.sender.is_finished:
                self._state.end()  # it is discarded with the next packet


def _packet_number(truncated: int, window: int, expected: int) -> int:
    """Return the number nearest to the one `expected` that ends as `truncated` does (RFC 9000 appendix A.3)."""
    highest = expected + window // 2
    number = highest - ((highest - truncated) & (window - 1))
    return number if number >= 0 else number + window


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """Return a variable-length integer and the offset behind it, which is beyond the end if it was cut short."""
    first = data[offset]
    if first < _ONE_BYTE:
        return first, offset + 1
    if first < 0x80:
        return (first & 0x3F) << 8 | data[offset + 1], offset + 2
    end = offset + (1 << (first >> 6))
    return int.from_bytes(data[offset:end], "big") & ((1 << 8 * (end - offset) - 2) - 1), end


def _ack(data: bytes, offset: int) -> tuple[int, AckedRanges, int]:
    """Return an ACK frame's delay as encoded, its ranges, and the offset behind it (RFC 9000 section 19.3.1)."""
    largest, offset = _varint(data, offset)
    delay, offset = _varint(data, offset)
    more, offset = _varint(data, offset)
    length, offset = _varint(data, offset)
    ranges = [range(largest - length, largest + 1)]
    for _ in range(more):
        gap, offset = _varint(data, offset)
        length, offset = _varint(data, offset)
        largest = ranges[-1].start - gap - 2
        ranges.append(range(largest - length, largest + 1))
    ranges.reverse()
    return delay, AckedRanges(ranges), offset
