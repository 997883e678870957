"""WebTransport over HTTP/3 (draft-02) for both sides, on top of aioquic's `H3Connection`.

This is the one file that touches private names of `H3Connection`; tests/unit/gateway/h3 holds a test for each.
Sans-IO: feed it the QUIC events of one connection, act on what it returns, and flush the connection after any call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pylsqpack
from aioquic.h3 import events as h3_events
from aioquic.h3.connection import (
    ErrorCode,
    FrameType,
    FrameUnexpected,
    H3Connection,
    H3Stream,
    HeadersState,
    Setting,
    StreamCreationError,
)
from aioquic.quic import events as quic_events
from aioquic.quic.connection import stream_is_unidirectional

from gateway.h3 import limits
from gateway.h3.capsules import CapsuleReader, CloseSession, DrainSession, encode_capsule
from gateway.h3.codepoints import BUFFERED_STREAM_REJECTED, SESSION_GONE, from_http_code, to_http_code
from gateway.h3.early import EarlyStreams
from gateway.h3.events import (
    DatagramReceived,
    SessionClosed,
    SessionDraining,
    SessionOpened,
    SessionRefused,
    SessionRequested,
    StreamData,
    StreamReset,
    StreamStopped,
    WebTransportEvent,
)
from gateway.h3.requests import connect_fields, decode_fields, encode_fields, fault_status, regular_fields
from gateway.quic.connection import Connection
from gateway.wire import Malformed, encode_varint

__all__ = [
    "DatagramReceived",
    "SessionClosed",
    "SessionDraining",
    "SessionOpened",
    "SessionRefused",
    "SessionRequested",
    "StreamData",
    "StreamReset",
    "StreamStopped",
    "WebTransportEvent",
    "WebTransportLayer",
]


@dataclass(slots=True)
class _Session:
    is_open: bool = False
    capsules: CapsuleReader = field(default_factory=CapsuleReader)


@dataclass(slots=True)
class _Stream:
    session_id: int
    can_send: bool
    can_receive: bool


class WebTransportLayer:
    """The sessions and streams of one QUIC connection; the role is the connection's.

    Stream error codes are the application's own, 0 to 2^32-1. What is sent on a stream or session that has ended
    meanwhile is dropped, since the peer may end either at any time.
    """

    def __init__(self, quic: Connection) -> None:
        self._quic = quic
        self._h3 = _Http3(quic)
        self._is_client = quic.configuration.is_client
        self._sessions: dict[int, _Session] = {}
        self._over: set[int] = set()
        self._streams: dict[int, _Stream] = {}
        self._early = EarlyStreams()

    # Sessions

    def connect(self, authority: str, path: str, headers: Mapping[str, str] | None = None) -> int:
        """Client: ask for a session, and return its ID; `SessionOpened` or `SessionRefused` follows.

        May be called before the handshake is over, and streams may be opened at once: that saves a round trip.
        """
        session_id = self._quic.get_next_available_stream_id()
        self._sessions[session_id] = _Session()
        self._h3.send_headers(session_id, connect_fields(authority, path, headers or {}))
        return session_id

    def accept(self, session_id: int) -> list[WebTransportEvent]:
        """Server: answer 200, and return what the client sent ahead of the answer, to be handled now."""
        self._sessions[session_id].is_open = True
        answer = {":status": "200", "sec-webtransport-http3-draft": "draft02"}
        self._h3.send_headers(session_id, encode_fields(answer))
        return list(self._early.take(session_id))

    def refuse(self, session_id: int, status: int, headers: Mapping[str, str] | None = None) -> None:
        """Server: answer with an HTTP status; there is no session."""
        fields = {":status": str(status), **(headers or {})}
        self._h3.send_headers(session_id, encode_fields(fields), end_stream=True)
        self._h3.stop_receiving(session_id, ErrorCode.H3_NO_ERROR)
        self._end(session_id)

    def close_session(self, session_id: int, code: int, reason: str) -> None:
        """End the session: its streams are reset, and the peer is told `code` and `reason`."""
        session = self._sessions.get(session_id)
        if session is None or self._quic.is_ended:
            return
        if session.is_open:
            self._h3.send_data(session_id, encode_capsule(CloseSession(code, reason)), end_stream=True)
        else:
            self._quic.reset_stream(session_id, ErrorCode.H3_REQUEST_CANCELLED)
        self._end(session_id)

    def drain_session(self, session_id: int) -> None:
        """Ask the peer to end the session soon."""
        session = self._sessions.get(session_id)
        if session is not None and session.is_open:
            self._h3.send_data(session_id, encode_capsule(DrainSession()), end_stream=False)

    # Streams and datagrams

    def open_stream(self, session_id: int, *, is_unidirectional: bool) -> int:
        """Open a stream in the session, and return its ID."""
        stream_id = self._h3.create_webtransport_stream(session_id, is_unidirectional)
        self._streams[stream_id] = _Stream(session_id, can_send=True, can_receive=not is_unidirectional)
        return stream_id

    def send(self, stream_id: int, data: bytes, *, end_stream: bool = False) -> None:
        """Queue octets on a stream."""
        stream = self._streams.get(stream_id)
        if stream is None or not stream.can_send or self._quic.is_ended:
            return
        self._quic.send_stream_data(stream_id, data, end_stream)
        if end_stream:
            self._update(stream_id, stream, can_send=False)

    def reset(self, stream_id: int, code: int) -> None:
        """Abandon this half of a stream, even one that was ended: what was not delivered never will be."""
        if not self._quic.is_delivered(stream_id) and not self._quic.is_ended:
            self._quic.reset_stream(stream_id, to_http_code(code))
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._update(stream_id, stream, can_send=False)

    def is_delivered(self, stream_id: int) -> bool:
        """Whether the peer has acknowledged all of a stream, or of a session's own stream, to its end."""
        return self._quic.is_delivered(stream_id)

    def stop(self, stream_id: int, code: int) -> None:
        """Ask the peer to send no more on a stream."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.can_receive:
            self._h3.stop_receiving(stream_id, to_http_code(code))

    def send_datagram(self, session_id: int, data: bytes) -> bool:
        """Send an unreliable datagram; False if it was dropped as too large for the peer."""
        return self._quic.offer_datagram(encode_varint(session_id // 4) + data)

    # Events

    def handle_event(self, event: quic_events.QuicEvent) -> list[WebTransportEvent]:
        """Take a QUIC event, and return what it means for sessions and streams."""
        if isinstance(event, quic_events.StreamDataReceived) and event.stream_id not in self._streams:
            self._quic.charge(len(event.data) // 2)  # as much as frames of two bytes would cost
        answers: list[WebTransportEvent] = []
        for each in self._h3.handle_event(event):
            match each:
                case h3_events.WebTransportStreamDataReceived():
                    answers += self._stream_data(each)
                case h3_events.DatagramReceived(stream_id=session_id, data=data):
                    if self._is_open(session_id):
                        answers.append(DatagramReceived(session_id, data))
                case h3_events.HeadersReceived():
                    answers += self._response(each) if self._is_client else self._request(each)
                case h3_events.DataReceived(stream_id=session_id, data=data, stream_ended=is_ended):
                    answers += self._session_data(session_id, data, is_ended)
        match event:
            case quic_events.StreamReset(stream_id=stream_id, error_code=code):
                answers += self._peer_reset(stream_id, code)
            case quic_events.StopSendingReceived(stream_id=stream_id, error_code=code):
                answers += self._peer_stopped(stream_id, code)
        return answers

    def _request(self, event: h3_events.HeadersReceived) -> list[WebTransportEvent]:
        session_id = event.stream_id
        if session_id in self._sessions or session_id in self._over:
            return []  # trailers
        if len(self._over) >= limits.MAX_REQUESTS:
            self._h3.fail(ErrorCode.H3_EXCESSIVE_LOAD, f"more than {limits.MAX_REQUESTS} requests")
            return []
        fields = decode_fields(event.headers)
        status = fault_status(fields, event.stream_ended)
        if status is None and len(self._sessions) >= limits.MAX_SESSIONS:
            status = 429
        if status is not None:
            self.refuse(session_id, status)
            return []
        self._sessions[session_id] = _Session()
        regular = regular_fields(fields)
        authority, path = fields[":authority"], fields[":path"]
        return [SessionRequested(session_id, authority, path, regular.get("origin"), regular)]

    def _response(self, event: h3_events.HeadersReceived) -> list[WebTransportEvent]:
        session_id = event.stream_id
        session = self._sessions.get(session_id)
        fields = decode_fields(event.headers)
        status = int(fields[":status"])
        if session is None or session.is_open or status < 200:
            return []
        if status >= 300 or event.stream_ended:
            self._end(session_id)
            return [SessionRefused(session_id, status, regular_fields(fields))]
        session.is_open = True
        return [SessionOpened(session_id, fields), *self._early.take(session_id)]

    def _session_data(self, session_id: int, data: bytes, is_ended: bool) -> list[WebTransportEvent]:
        session = self._sessions.get(session_id)
        if session is None:
            return []
        capsules = session.capsules.feed(data)
        if isinstance(capsules, Malformed):
            self._quic.reset_stream(session_id, ErrorCode.H3_MESSAGE_ERROR)
            self._end(session_id)
            return [SessionClosed(session_id, 0, capsules.reason)]
        answers: list[WebTransportEvent] = []
        for capsule in capsules:
            if isinstance(capsule, CloseSession):
                return [*answers, *self._peer_closed(session_id, capsule.code, capsule.reason)]
            answers.append(SessionDraining(session_id))
        return [*answers, *self._peer_closed(session_id, 0, "")] if is_ended else answers

    def _peer_closed(self, session_id: int, code: int, reason: str) -> list[WebTransportEvent]:
        if self._sessions[session_id].is_open:
            self._h3.send_data(session_id, b"", end_stream=True)
        self._end(session_id)
        return [SessionClosed(session_id, code, reason)]

    def _stream_data(self, event: h3_events.WebTransportStreamDataReceived) -> list[WebTransportEvent]:
        stream_id, session_id = event.stream_id, event.session_id
        is_unidirectional = stream_is_unidirectional(stream_id)
        stream = self._streams.get(stream_id)
        if stream is None:
            if session_id % 4:
                self._h3.fail(ErrorCode.H3_ID_ERROR, f"stream {stream_id} names session {session_id}")
                return []
            stream = self._streams[stream_id] = _Stream(session_id, not is_unidirectional, can_receive=True)
        if event.stream_ended:
            self._update(stream_id, stream, can_receive=False)
        data = StreamData(session_id, stream_id, event.data, event.stream_ended, is_unidirectional)
        if self._is_open(session_id):
            return [data]
        if session_id in self._over:
            self._abandon(stream_id, SESSION_GONE)
        elif not self._early.keep(data):
            self._abandon(stream_id, BUFFERED_STREAM_REJECTED)
        return []

    def _peer_reset(self, stream_id: int, http_code: int) -> list[WebTransportEvent]:
        if stream_id in self._sessions:
            self._quic.reset_stream(stream_id, ErrorCode.H3_REQUEST_CANCELLED)
            self._end(stream_id)
            return [SessionClosed(stream_id, 0, "the session's stream was reset")]
        stream = self._streams.get(stream_id)
        if stream is None:
            return []
        self._update(stream_id, stream, can_receive=False)
        return [StreamReset(stream.session_id, stream_id, from_http_code(http_code))]

    def _peer_stopped(self, stream_id: int, http_code: int) -> list[WebTransportEvent]:
        if self._is_open(stream_id):
            self._h3.stop_receiving(stream_id, ErrorCode.H3_REQUEST_CANCELLED)
            self._end(stream_id)
            return [SessionClosed(stream_id, 0, "the session's stream was stopped")]
        stream = self._streams.get(stream_id)
        if stream is None or not stream.can_send:
            return []
        self._update(stream_id, stream, can_send=False)
        return [StreamStopped(stream.session_id, stream_id, from_http_code(http_code))]

    def _is_open(self, session_id: int) -> bool:
        session = self._sessions.get(session_id)
        return session is not None and session.is_open

    def _update(
        self, stream_id: int, stream: _Stream, can_send: bool | None = None, can_receive: bool | None = None
    ) -> None:
        if can_send is not None:
            stream.can_send = can_send
            self._h3.sending_ended(stream_id)
        if can_receive is not None:
            stream.can_receive = can_receive
        if not stream.can_send and not stream.can_receive:
            self._streams.pop(stream_id, None)

    def _abandon(self, stream_id: int, http_code: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if stream.can_receive:
            self._h3.stop_receiving(stream_id, http_code)
        if stream.can_send:
            self._quic.reset_stream(stream_id, http_code)
            self._update(stream_id, stream, can_send=False)

    def _end(self, session_id: int) -> None:
        self._sessions.pop(session_id, None)
        self._over.add(session_id)
        self._early.take(session_id)
        for stream_id, stream in list(self._streams.items()):
            if stream.session_id == session_id:
                self._abandon(stream_id, SESSION_GONE)
                self._streams.pop(stream_id, None)


class _Http3(H3Connection):
    """HTTP/3 with static QPACK, small headers, no push, and WebTransport streams where they may be."""

    _quic: Connection

    def __init__(self, quic: Connection) -> None:
        super().__init__(quic, enable_webtransport=True)
        self._decoder = pylsqpack.Decoder(0, 0)

    def fail(self, code: ErrorCode, reason: str) -> None:
        """Close the connection; whatever else arrives on it is ignored."""
        self._is_done = True
        self._quic.close(error_code=code, reason_phrase=reason)

    def create_webtransport_stream(self, session_id: int, is_unidirectional: bool = False) -> int:
        stream_id = super().create_webtransport_stream(session_id, is_unidirectional)
        if not is_unidirectional:
            # the peer answers without a frame header, so that what comes back must not be parsed for one
            stream = self._stream[stream_id] = H3Stream(stream_id)
            stream.frame_type = FrameType.WEBTRANSPORT_STREAM
            stream.session_id = session_id
        return stream_id

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
        self._max_push_id = None  # a client must not announce any push, a server has none to limit
        super()._init_connection()

    def _get_local_settings(self) -> dict[int, int]:
        return super()._get_local_settings() | {
            Setting.QPACK_MAX_TABLE_CAPACITY: 0,
            Setting.QPACK_BLOCKED_STREAMS: 0,
            Setting.MAX_FIELD_SECTION_SIZE: limits.MAX_FIELD_SECTION_OCTETS,
        }

    def _validate_settings(self, settings: dict[int, int]) -> None:
        super()._validate_settings(settings)
        # our encoder stays static too: nothing to gain on one request, and no number a peer picks reaches its allocator
        settings[Setting.QPACK_MAX_TABLE_CAPACITY] = settings[Setting.QPACK_BLOCKED_STREAMS] = 0

    def _check_control_frame_type(self, frame_type: int) -> None:
        super()._check_control_frame_type(frame_type)
        stream = self._stream[self._peer_control_stream_id or 0]
        if frame_type in (FrameType.SETTINGS, FrameType.MAX_PUSH_ID):
            limits.check_frame_size(stream, limits.MAX_CONTROL_FRAME_OCTETS)

    def _check_request_or_push_frame_type(self, frame_type: int, stream: H3Stream) -> None:
        super()._check_request_or_push_frame_type(frame_type, stream)
        is_peer_opened = stream.stream_id % 4 == (1 if self._is_client else 0)
        if frame_type == FrameType.WEBTRANSPORT_STREAM:
            if not is_peer_opened or stream.headers_recv_state is not HeadersState.INITIAL:
                raise FrameUnexpected("WEBTRANSPORT_STREAM is only allowed first on a stream its sender opened")
        elif self._is_client and is_peer_opened:
            raise StreamCreationError("servers open bidirectional streams for WebTransport only")
        elif frame_type in (FrameType.HEADERS, FrameType.PUSH_PROMISE):
            limits.check_frame_size(stream, limits.MAX_HEADERS_OCTETS)

    def _decode_headers(self, stream_id: int, frame_data: bytes | None) -> list[tuple[bytes, bytes]]:
        headers = super()._decode_headers(stream_id, frame_data)
        limits.check_field_section(headers)
        return headers
