"""WebTransport over HTTP/3 for both sides: sessions, their streams and datagrams.

A server speaks every dialect of `voicelink.h3.session.dialect`, in each session its client's; a client speaks draft-02.
Sans-IO: feed it the QUIC events of one connection, act on what it returns, and flush the connection after any call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aioquic.h3 import events as h3_events
from aioquic.h3.connection import ErrorCode
from aioquic.quic import events as quic_events
from aioquic.quic.connection import stream_is_unidirectional

from voicelink.h3 import limits
from voicelink.h3.events import (
    DatagramReceived,
    SessionClosed,
    SessionDraining,
    SessionOpened,
    SessionRefused,
    SessionRequested,
    SessionStopped,
    StreamData,
    StreamReset,
    StreamStopped,
    WebTransportEvent,
)
from voicelink.h3.http3 import Http3
from voicelink.h3.requests import (
    METHOD_NOT_ALLOWED,
    connect_fields,
    decode_fields,
    encode_fields,
    fault_status,
    is_trailer_section,
    regular_fields,
)
from voicelink.h3.session.capsules import CapsuleReader, CloseSession, DrainSession, MaxData, MaxStreams
from voicelink.h3.session.codepoints import (
    BUFFERED_STREAM_REJECTED,
    FLOW_CONTROL_ERROR,
    SESSION_GONE,
    from_http_code,
    to_http_code,
)
from voicelink.h3.session.dialect import Terms, terms
from voicelink.h3.session.early import EarlyStreams
from voicelink.h3.session.flow_control import Outbox, Write
from voicelink.quic import Connection
from voicelink.wire import Malformed, decode_varint, encode_varint

__all__ = [
    "DatagramReceived",
    "SessionClosed",
    "SessionDraining",
    "SessionOpened",
    "SessionRefused",
    "SessionRequested",
    "SessionStopped",
    "StreamData",
    "StreamReset",
    "StreamStopped",
    "WebTransportEvent",
    "WebTransportLayer",
]


@dataclass(slots=True)
class _Session:
    terms: Terms
    outbox: Outbox | None = None
    is_open: bool = False
    is_stopped: bool = False
    capsules: CapsuleReader = field(default_factory=CapsuleReader)


@dataclass(slots=True)
class _Stream:
    session_id: int
    is_unidirectional: bool
    can_send: bool
    can_receive: bool


class WebTransportLayer:
    """The sessions and streams of one QUIC connection; the role is the connection's.

    Stream error codes are the application's own, 0 to 2^32-1. What is sent on a stream or session that has ended
    meanwhile is dropped, since the peer may end either at any time.
    """

    def __init__(self, quic: Connection) -> None:
        self._quic = quic
        self._h3 = Http3(quic)
        self._is_client = quic.configuration.is_client
        self._sessions: dict[int, _Session] = {}
        self._waiting: dict[int, list[h3_events.HeadersReceived | h3_events.DataReceived]] = {}
        """Sound requests, and what followed them, that overtook the SETTINGS, which say what dialect they are in."""
        self._over: dict[int, None] = {}
        """Answered requests and ended sessions, as long as their streams last and there is room, oldest first."""
        self._over_below = 0
        self._streams: dict[int, _Stream] = {}
        self._header_bytes = 0
        """The longest header of a stream opened here: what every reset of one still delivers."""
        self._early = EarlyStreams()

    # Sessions

    def connect(self, authority: str, path: str, headers: Mapping[str, str] | None = None) -> int:
        """Client: ask for a session, and return its ID; `SessionOpened` or `SessionRefused` follows.

        May be called before the handshake is over, and streams may be opened at once: that saves a round trip.
        """
        session_id = self._quic.get_next_available_stream_id()
        self._sessions[session_id] = _Session(Terms())
        self._h3.send_headers(session_id, connect_fields(authority, path, headers or {}))
        return session_id

    def accept(self, session_id: int) -> list[WebTransportEvent]:
        """Server: answer 200, and return what the client sent ahead of the answer, to be handled now.

        Nothing happens where the client has ended the session meanwhile; `SessionClosed` follows then.
        """
        session = self._sessions.get(session_id)
        if session is None:
            return []
        session.is_open = True
        self._h3.answer(session_id, encode_fields({":status": "200", **session.terms.answer}))
        return list(self._early.take(session_id))

    def refuse(self, session_id: int, status: int, headers: Mapping[str, str] | None = None) -> None:
        """Server: answer with an HTTP status; there is no session."""
        fields = {":status": str(status), **(headers or {})}
        self._h3.answer(session_id, encode_fields(fields), end_stream=True)
        self._h3.stop_receiving(session_id, ErrorCode.H3_NO_ERROR)
        self._end(session_id)

    def close_session(self, session_id: int, code: int, reason: str) -> None:
        """End the session: reset its streams, and send the peer `code` and `reason`."""
        session = self._sessions.get(session_id)
        if session is None or self._quic.is_ended:
            return
        if session.is_open:
            self._h3.send_capsule(session_id, CloseSession(code, reason), end_stream=True)
        else:
            self._quic.reset_stream(session_id, ErrorCode.H3_REQUEST_CANCELLED)
        self._end(session_id)

    def drain_session(self, session_id: int) -> None:
        """Ask the peer to end the session soon."""
        session = self._sessions.get(session_id)
        if session is not None and session.is_open:
            self._h3.send_capsule(session_id, DrainSession())

    def end_stopped_session(self, session_id: int) -> list[WebTransportEvent]:
        """Give up waiting for the end of a session that was stopped; without effect if it has come or there is none."""
        session = self._sessions.get(session_id)
        if session is None or not session.is_stopped:
            return []
        self._h3.stop_receiving(session_id, ErrorCode.H3_REQUEST_CANCELLED)
        self._end(session_id)
        return [SessionClosed(session_id, 0, "the session's stream was stopped")]

    # Streams and datagrams

    def open_stream(self, session_id: int, *, is_unidirectional: bool) -> int:
        """Open a stream in the session, and return its ID; where credit is wanting it waits, with all sent on it."""
        stream_id, header = self._h3.reserve_stream(session_id, is_unidirectional=is_unidirectional)
        self._header_bytes = max(self._header_bytes, len(header))
        self._streams[stream_id] = _Stream(session_id, is_unidirectional, True, not is_unidirectional)
        outbox = self._outbox(session_id)
        if outbox is None:
            self._quic.send_stream_data(stream_id, header)
        else:
            self._write(session_id, outbox, outbox.open(stream_id, header, is_unidirectional=is_unidirectional))
        return stream_id

    def send(self, stream_id: int, data: bytes, *, end_stream: bool = False) -> None:
        """Queue bytes on a stream."""
        stream = self._streams.get(stream_id)
        if stream is None or not stream.can_send or self._quic.is_ended:
            return
        outbox = self._outbox(stream.session_id)
        if outbox is None:
            self._quic.send_stream_data(stream_id, data, end_stream)
        else:
            self._write(stream.session_id, outbox, outbox.write(stream_id, data, end_stream))
        if end_stream:
            self._update(stream_id, stream, can_send=False)

    def reset(self, stream_id: int, code: int) -> None:
        """Abandon this half of a stream, even one that was ended: what was not delivered never will be."""
        if not self._quic.is_delivered(stream_id) and not self._quic.is_ended:
            self._reset(stream_id, to_http_code(code))
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

    def pass_on(self, stream_id: int, take: Callable[[bytes], None]) -> None:
        """Have `take` called with what arrives on a long-lived stream from now on, instead of `StreamData`.

        Its last data, its end and its reset come as events all the same, and nothing once its session is over.
        """
        stream = self._streams.get(stream_id)
        if stream is not None and stream.can_receive and self._is_open(stream.session_id):
            self._quic.stream_sinks[stream_id] = take

    def send_datagram(self, session_id: int, data: bytes) -> bool:
        """Send an unreliable datagram; False if it was dropped as too large for the peer."""
        return self._quic.offer_datagram(encode_varint(session_id // 4) + data)

    # Events

    def handle_event(self, event: quic_events.QuicEvent) -> list[WebTransportEvent]:
        """Take a QUIC event, and return what it means for sessions and streams."""
        plain = self._plain_data(event)
        if plain is not None:
            return [plain]
        if isinstance(event, quic_events.StreamDataReceived) and event.stream_id not in self._streams:
            self._quic.charge(len(event.data) // 2)  # as much as frames of two bytes would cost
        answers: list[WebTransportEvent] = []
        named = self._h3.session_of(event.stream_id) if isinstance(event, quic_events.StreamReset) else None
        http_events = self._h3.handle_event(event)
        if self._waiting and self._h3.received_settings is not None:
            http_events = [each for waiting in self._waiting.values() for each in waiting] + http_events
            self._waiting.clear()
        for each in http_events:
            match each:
                case h3_events.DataReceived(stream_id=stream_id) if stream_id in self._waiting:
                    self._wait(each)
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
                answers += self._peer_reset(stream_id, code, named)
            case quic_events.StopSendingReceived(stream_id=stream_id, error_code=code):
                answers += self._peer_stopped(stream_id, code)
        return answers

    def _plain_data(self, event: quic_events.QuicEvent) -> StreamData | DatagramReceived | None:
        """Take what only passes HTTP/3 by: more of a stream, or a datagram, of an open session; `None` for other."""
        if self._waiting or self._h3.is_done:
            return None
        if type(event) is quic_events.StreamDataReceived:
            stream_id = event.stream_id
            stream = self._streams.get(stream_id)
            if stream is None or event.end_stream or not stream.can_receive or not self._is_open(stream.session_id):
                return None
            return StreamData(stream.session_id, stream_id, event.data, False, stream.is_unidirectional)
        if type(event) is quic_events.DatagramFrameReceived:
            quarter = decode_varint(event.data)
            if quarter is not None and self._is_open(4 * quarter[0]):
                return DatagramReceived(4 * quarter[0], event.data[quarter[1] :])
        return None

    def _request(self, event: h3_events.HeadersReceived) -> list[WebTransportEvent]:
        session_id = event.stream_id
        fields = decode_fields(event.headers)
        if is_trailer_section(fields):
            return []
        if not self._has_place():
            self._h3.reject(session_id)
            return []
        status = fault_status(fields, event.stream_ended)
        if status is not None:
            self.refuse(session_id, status, METHOD_NOT_ALLOWED if status == 405 else None)
            return []
        settings = self._h3.received_settings
        if settings is None:
            self._wait(event)
            return []
        agreed = terms(settings, fields[":protocol"])
        if len(self._sessions) >= agreed.max_sessions:
            if agreed.rejects_by_reset:
                self._h3.reject(session_id)
            else:
                self.refuse(session_id, 429)
            return []
        self._sessions[session_id] = _Session(agreed, None if agreed.limits is None else Outbox(agreed.limits))
        regular = regular_fields(fields)
        authority, path = fields[":authority"], fields[":path"]
        return [SessionRequested(session_id, authority, path, regular.get("origin"), regular)]

    def _wait(self, event: h3_events.HeadersReceived | h3_events.DataReceived) -> None:
        """Keep a request, or data behind it, until the SETTINGS arrive; reject it where it is too much."""
        waiting = self._waiting.setdefault(event.stream_id, [])
        waiting.append(event)
        raw = sum(len(each.data) for each in waiting if isinstance(each, h3_events.DataReceived))
        is_too_much = raw > limits.MAX_WAITING_BYTES or len(waiting) > limits.MAX_WAITING_PIECES
        if is_too_much or len(self._waiting) > limits.MAX_SESSIONS:
            del self._waiting[event.stream_id]
            self._h3.reject(event.stream_id)

    def _has_place(self) -> bool:
        """Whether one more request may be answered; forgets those that are finished first, if need be."""
        if len(self._over) >= limits.MAX_REQUESTS:
            quic = self._quic
            finished = [each for each in self._over if quic.is_delivered(each) and not quic.is_receiving(each)]
            for each in finished:
                del self._over[each]
                self._over_below = max(self._over_below, each + 1)
        return len(self._over) < limits.MAX_REQUESTS

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
            return self._fail_session(session_id, ErrorCode.H3_MESSAGE_ERROR, capsules.reason)
        answers: list[WebTransportEvent] = []
        for capsule in capsules:
            match capsule:
                case CloseSession(code, reason):
                    return [*answers, *self._peer_closed(session_id, code, reason)]
                case DrainSession():
                    answers.append(SessionDraining(session_id))
                case MaxData() | MaxStreams() if session.outbox is not None and not session.outbox.raise_limit(capsule):
                    reason = f"{type(capsule).__name__} lowered a limit to {capsule.maximum}"
                    return [*answers, *self._fail_session(session_id, FLOW_CONTROL_ERROR, reason)]
        if is_ended:
            return [*answers, *self._peer_closed(session_id, 0, "")]
        if session.outbox is not None:
            self._write(session_id, session.outbox, session.outbox.release())
        return answers

    def _fail_session(self, session_id: int, http_code: int, reason: str) -> list[WebTransportEvent]:
        self._quic.reset_stream(session_id, http_code)
        self._h3.stop_receiving(session_id, http_code)
        self._end(session_id)
        return [SessionClosed(session_id, 0, reason)]

    def _peer_closed(self, session_id: int, code: int, reason: str) -> list[WebTransportEvent]:
        if self._sessions[session_id].is_open:
            self._h3.send_capsule(session_id, None, end_stream=True)
        else:
            self._quic.reset_stream(session_id, ErrorCode.H3_REQUEST_CANCELLED)
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
            stream = self._streams[stream_id] = _Stream(session_id, is_unidirectional, not is_unidirectional, True)
        if event.stream_ended:
            self._update(stream_id, stream, can_receive=False)
        data = StreamData(session_id, stream_id, event.data, event.stream_ended, is_unidirectional)
        if self._is_open(session_id):
            return [data]
        if self._is_over(session_id):
            self._abandon(stream_id, SESSION_GONE)
        elif not self._early.keep(data):
            self._abandon(stream_id, BUFFERED_STREAM_REJECTED)
        return []

    def _peer_reset(self, stream_id: int, http_code: int, named: int | None) -> list[WebTransportEvent]:
        if self._waiting.pop(stream_id, None) is not None:
            self._quic.reset_stream(stream_id, ErrorCode.H3_REQUEST_CANCELLED)
        if stream_id in self._sessions:
            self._quic.reset_stream(stream_id, ErrorCode.H3_REQUEST_CANCELLED)
            self._end(stream_id)
            return [SessionClosed(stream_id, 0, "the session's stream was reset")]
        stream = self._streams.get(stream_id)
        if stream is None:
            is_known = named is not None and self._is_open(named)
            return [StreamReset(named or 0, stream_id, from_http_code(http_code))] if is_known else []
        self._update(stream_id, stream, can_receive=False)
        return [StreamReset(stream.session_id, stream_id, from_http_code(http_code))]

    def _peer_stopped(self, stream_id: int, http_code: int) -> list[WebTransportEvent]:
        session = self._sessions.get(stream_id)
        if session is not None:
            session.is_stopped = session.is_open
            return [SessionStopped(stream_id)] if session.is_open else []
        stream = self._streams.get(stream_id)
        if stream is None or not stream.can_send:
            return []
        self._drop(stream_id)
        self._update(stream_id, stream, can_send=False)
        return [StreamStopped(stream.session_id, stream_id, from_http_code(http_code))]

    def _outbox(self, session_id: int) -> Outbox | None:
        session = self._sessions.get(session_id)
        return None if session is None else session.outbox

    def _write(self, session_id: int, outbox: Outbox, writes: list[Write]) -> None:
        for write in writes:
            self._quic.send_stream_data(write.stream_id, write.data, write.end_stream)
        for capsule in outbox.blocked():
            self._h3.send_capsule(session_id, capsule)

    def _drop(self, stream_id: int) -> None:
        for session in self._sessions.values():
            if session.outbox is not None:
                session.outbox.drop(stream_id)

    def _reset(self, stream_id: int, http_code: int) -> None:
        """Reset this half of a stream; its header arrives all the same, where the peer can do that (draft-16 4.4)."""
        self._drop(stream_id)
        is_ours = stream_id % 2 == (0 if self._is_client else 1)
        self._quic.reset_stream_at(stream_id, http_code, self._header_bytes if is_ours else 0)

    def _is_over(self, session_id: int) -> bool:
        is_forgotten = session_id < self._over_below and session_id not in self._sessions
        return session_id in self._over or is_forgotten

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
            self._quic.stream_sinks.pop(stream_id, None)
        if not stream.can_send and not stream.can_receive:
            self._streams.pop(stream_id, None)

    def _abandon(self, stream_id: int, http_code: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if stream.can_receive:
            self._h3.stop_receiving(stream_id, http_code)
        if stream.can_send:
            self._reset(stream_id, http_code)
            self._update(stream_id, stream, can_send=False)

    def _end(self, session_id: int) -> None:
        self._quic.stream_sinks.clear()  # those of other sessions of the connection get events again
        self._sessions.pop(session_id, None)
        self._over[session_id] = None
        self._early.take(session_id)
        for stream_id, stream in list(self._streams.items()):
            if stream.session_id == session_id:
                self._abandon(stream_id, SESSION_GONE)
                self._streams.pop(stream_id, None)
