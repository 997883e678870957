"""HTTP/3 for one connection: aioquic's `H3Connection`, with static QPACK, small headers and WebTransport streams.

This is the one file that touches private names of `H3Connection`; tests/unit/voicelink/h3 holds a test for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from aioquic.h3.connection import (
    ErrorCode,
    FrameType,
    FrameUnexpected,
    H3Connection,
    H3Stream,
    HeadersState,
    Setting,
    StreamCreationError,
    StreamType,
    encode_frame,
    encode_settings,
)
from aioquic.h3.events import Headers

from voicelink.h3 import limits
from voicelink.h3.session.capsules import Capsule, encode_capsule
from voicelink.h3.session.dialect import SERVER_SETTINGS
from voicelink.h3.static_qpack import STATIC_DECODER
from voicelink.quic import NO_STREAM, Connection
from voicelink.wire import encode_varint

SETTINGS: Final[Mapping[int, int]] = {
    Setting.QPACK_MAX_TABLE_CAPACITY: 0,
    Setting.QPACK_BLOCKED_STREAMS: 0,
    Setting.ENABLE_CONNECT_PROTOCOL: 1,
    Setting.DUMMY: 1,  # one that peers must ignore (RFC 9114 section 7.2.4.1)
    Setting.H3_DATAGRAM: 1,
    Setting.ENABLE_WEBTRANSPORT: 1,
    Setting.MAX_FIELD_SECTION_SIZE: limits.MAX_FIELD_SECTION_BYTES,
}
"""Those of both sides; a server adds `SERVER_SETTINGS`."""


class Http3(H3Connection):
    """HTTP/3 with static QPACK, small headers, no push, and WebTransport streams where they may be."""

    _quic: Connection

    def __init__(self, quic: Connection) -> None:
        super().__init__(quic, enable_webtransport=True)
        self._decoder = STATIC_DECODER  # type: ignore[assignment]  # has what is used of it

    @property
    def is_done(self) -> bool:
        """Whether the connection failed, and what else arrives on it is ignored."""
        return self._is_done

    def fail(self, code: ErrorCode, reason: str) -> None:
        """Close the connection; all that arrives later is ignored."""
        self._is_done = True
        self._quic.close(error_code=code, reason_phrase=reason)

    def session_of(self, stream_id: int) -> int | None:
        """The session that the header of a peer's stream named; `None` if it has not arrived, or there is none."""
        stream = self._stream.get(stream_id)
        return None if stream is None else stream.session_id

    def reserve_stream(self, session_id: int, *, is_unidirectional: bool) -> tuple[int, bytes]:
        """Take the next stream ID for a session; returns it and the header that the stream must begin with."""
        stream_id = self._quic.get_next_available_stream_id(is_unidirectional)
        self._quic.send_stream_data(stream_id, b"")
        if not is_unidirectional:
            # the peer answers without a frame header, so that what comes back must not be parsed for one
            stream = self._stream[stream_id] = H3Stream(stream_id)
            stream.frame_type = FrameType.WEBTRANSPORT_STREAM
            stream.session_id = session_id
        kind = StreamType.WEBTRANSPORT if is_unidirectional else FrameType.WEBTRANSPORT_STREAM
        return stream_id, encode_varint(kind) + encode_varint(session_id)

    def answer(self, stream_id: int, headers: Headers, *, end_stream: bool = False) -> None:
        """Send headers, unless the peer has stopped this half of the stream."""
        stream = self._stream.get(stream_id)
        if stream is None or not stream.sending_ended:
            self.send_headers(stream_id, headers, end_stream)

    def send_capsule(self, session_id: int, capsule: Capsule | None, *, end_stream: bool = False) -> None:
        """Send a capsule or nothing on a session's own stream, unless the peer has stopped it."""
        stream = self._stream.get(session_id)
        if stream is not None and not stream.sending_ended:
            self.send_data(session_id, encode_capsule(capsule) if capsule else b"", end_stream)

    def reject(self, stream_id: int) -> None:
        """Refuse a request unprocessed (RFC 9114 section 4.1.1)."""
        self._quic.reset_stream(stream_id, ErrorCode.H3_REQUEST_REJECTED)
        self.stop_receiving(stream_id, ErrorCode.H3_REQUEST_REJECTED)
        self.sending_ended(stream_id)

    def sending_ended(self, stream_id: int) -> None:
        """This half of the stream is finished: forget it once the peer's is, too."""
        stream = self._stream.get(stream_id)
        if stream is not None:
            stream.sending_ended = True
            if stream.is_ended():
                del self._stream[stream_id]

    def stop_receiving(self, stream_id: int, http_code: int) -> None:
        """Send STOP_SENDING, unless the peer has finished already."""
        if self._quic.is_receiving(stream_id):
            self._quic.stop_stream(stream_id, http_code)

    def _init_connection(self) -> None:
        """Open the control stream, and none of QPACK's.

        An encoder and a decoder without a dynamic table have no need of them, as RFC 9204 section 4.2 allows; a decoder
        that says nothing of cancelled streams, section 2.2.2.2.
        """
        self._max_push_id = None  # a client must not announce any push, a server has none to limit
        self._local_encoder_stream_id = self._local_decoder_stream_id = NO_STREAM
        settings = dict(SETTINGS) if self._is_client else {**SETTINGS, **SERVER_SETTINGS}
        self._sent_settings = settings
        stream_id = self._local_control_stream_id = self._quic.get_next_available_stream_id(is_unidirectional=True)
        self._log_stream_type(stream_id, StreamType.CONTROL)
        self._quic.send_stream_data(stream_id, _control_stream(tuple(settings.items())))

    def _validate_settings(self, settings: dict[int, int]) -> None:
        super()._validate_settings(settings)
        # our encoder stays static too: nothing to gain on one request, and no number a peer picks reaches its allocator
        settings[Setting.QPACK_MAX_TABLE_CAPACITY] = settings[Setting.QPACK_BLOCKED_STREAMS] = 0

    def _check_control_frame_type(self, frame_type: int) -> None:
        super()._check_control_frame_type(frame_type)
        stream = self._stream[self._peer_control_stream_id or 0]
        if frame_type in (FrameType.SETTINGS, FrameType.MAX_PUSH_ID):
            limits.check_frame_size(stream, limits.MAX_CONTROL_FRAME_BYTES)

    def _check_request_or_push_frame_type(self, frame_type: int, stream: H3Stream) -> None:
        super()._check_request_or_push_frame_type(frame_type, stream)
        is_peer_opened = stream.stream_id % 4 == (1 if self._is_client else 0)
        if frame_type == FrameType.WEBTRANSPORT_STREAM:
            if not is_peer_opened or stream.headers_recv_state is not HeadersState.INITIAL:
                raise FrameUnexpected("WEBTRANSPORT_STREAM is only allowed first on a stream its sender opened")
        elif self._is_client and is_peer_opened:
            raise StreamCreationError("servers open bidirectional streams for WebTransport only")
        elif frame_type in (FrameType.HEADERS, FrameType.PUSH_PROMISE):
            limits.check_frame_size(stream, limits.MAX_HEADERS_BYTES)

    def _decode_headers(self, stream_id: int, frame_data: bytes | None) -> Headers:
        headers = super()._decode_headers(stream_id, frame_data)
        limits.check_field_section(headers)
        return headers


@lru_cache(maxsize=16)
def _control_stream(settings: tuple[tuple[int, int], ...]) -> bytes:
    """What a control stream begins with: its type, and the SETTINGS frame, which few kinds of connections differ in."""
    return encode_varint(StreamType.CONTROL) + encode_frame(FrameType.SETTINGS, encode_settings(dict(settings)))
