"""Voice sessions over WebTransport, on the server.

One client-opened bidirectional stream carries control messages, client-opened unidirectional streams begin with their
`StreamType`, and each utterance of downlink audio is one server-opened unidirectional stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from quiclb.http.http1 import split_target
from voice_gateway.endpoint.served import ConnectionHandler, ServedConnection
from voice_gateway.endpoint.sockets.client_paths import peer_name
from voice_gateway.transport.access import access_token, refusal_code, refusal_fields
from voice_gateway.transport.base import Acceptor, Refusal, SessionRequest, TransportHandler
from voice_gateway.transport.read_scheduler import FRAMES_AT_ONCE, ReadScheduler
from voice_gateway.transport.stream_readers import ControlReader, UnidirectionalReader, UnknownStream
from voice_gateway.transport.uplink.reassembler import UplinkCounters
from voice_gateway.transport.uplink.uplink_receiver import UplinkReceiver
from voicelink.h3.limits import STOPPED_SESSION_S
from voicelink.h3.webtransport import (
    DatagramReceived,
    SessionClosed,
    SessionDraining,
    SessionRequested,
    SessionStopped,
    StreamData,
    StreamReset,
    StreamStopped,
    WebTransportEvent,
    WebTransportLayer,
)
from voicelink.quic import H3_NO_ERROR
from voicelink.quic.events import HandshakeCompleted, PeerMoved, QuicEvent
from voicelink.wire import (
    VOICE_PATH,
    AudioFrame,
    CloseCode,
    Drain,
    Malformed,
    ServerMessage,
    StreamType,
    encode_audio_frame,
    encode_message,
    encode_varint,
    length_prefixed,
)

MAX_OPEN_STREAMS: Final = 8
"""Streams of audio a session may have open towards the server; a well-behaved client needs one.

Those of unknown types are stopped and not counted: QUIC limits how many there are.
"""
PEER_DRAIN_S: Final = 30.0
"""The deadline that `drain` names where not this worker goes away, but something between it and the client."""
SESSION_DEADLINE_S: Final = 10.0
"""How long a connection may live without a session."""
DELIVERY_DEADLINE_S: Final = 10.0
"""How long the end of a session waits at least for its last messages to be acknowledged."""
DELIVERY_PROBE_TIMEOUTS: Final = 6
"""And how long in probe timeouts of the path, where that is longer: it may lose what is sent several times."""
DELIVERY_POLL_S: Final = 0.02
_DATA: Final = (StreamData, DatagramReceived)


class VoiceOverWebTransport:
    """The application an `Endpoint` runs on each connection: asks `accept` for every session requested on `path`."""

    def __init__(self, accept: Acceptor, path: str = VOICE_PATH) -> None:
        self.uplinks = UplinkCounters()
        self._accept = accept
        self._path = path
        self._reads: ReadScheduler | None = None

    def __call__(self, connection: ServedConnection) -> ConnectionHandler:
        if self._reads is None:
            self._reads = ReadScheduler(connection.loop.call_soon)
        return _Sessions(connection, self._accept, self._path, self.uplinks, self._reads)


class WebTransport:
    """`voice_gateway.transport.base.Transport` over one WebTransport session."""

    kind = "webtransport"

    def __init__(
        self,
        layer: WebTransportLayer,
        connection: ServedConnection,
        session_id: int,
        left: Callable[[int], None],
        uplinks: UplinkCounters,
        reads: ReadScheduler,
    ) -> None:
        self._layer = layer
        self._left = left
        self._connection = connection
        self._session_id = session_id
        self._handler: TransportHandler | None = None
        self._is_closed = False
        self._is_draining = False
        self._control: ControlReader | None = None
        self._control_id: int | None = None
        self._waiting = b""
        self._readers: dict[int, UnidirectionalReader] = {}
        self._skipped: set[int] = set()
        """Streams of unknown types whose end has not come yet."""
        self._unread: set[int] = set()
        self._is_control_unread = False
        self._unread_bytes = 0
        self._reads = reads
        self._undelivered: deque[AudioFrame] = deque()
        self._downlinks: dict[int, int] = {}
        self._ended: set[int] = set()
        self._highest_utterance_id = -1
        self._receiver = UplinkReceiver(connection.loop, self._send_report, uplinks)

    # gateway.transport.base.Transport

    @property
    def connection_id(self) -> str:
        return self._connection.id

    @property
    def datagrams(self) -> int:
        return self._receiver.datagrams

    @property
    def datagram_uplink(self) -> UplinkReceiver | None:
        return self._receiver if self._connection.quic.max_datagram_bytes > 0 else None

    def send(self, message: ServerMessage) -> None:
        if self._is_closed:
            return
        if isinstance(message, Drain) and not self._is_draining:
            self._is_draining = True
            self._layer.drain_session(self._session_id)
        raw = length_prefixed(encode_message(message))
        if self._control_id is None:
            self._waiting += raw
        else:
            self._write(self._control_id, raw)

    def send_audio(self, utterance_id: int, frames: Sequence[AudioFrame]) -> None:
        stream_id = self._downlink(utterance_id)
        raw = b"".join([length_prefixed(encode_audio_frame(frame)) for frame in frames])
        if stream_id is not None:
            self._write(stream_id, raw)

    def end_audio(self, utterance_id: int) -> None:
        stream_id = self._downlink(utterance_id)
        if stream_id is not None:
            self._ended.add(utterance_id)
            self._write(stream_id, b"", end_stream=True)

    def reset_audio(self, utterance_id: int) -> None:
        if self._is_closed:
            return
        self._highest_utterance_id = max(self._highest_utterance_id, utterance_id)
        self._ended.discard(utterance_id)
        stream_id = self._downlinks.pop(utterance_id, None)
        if stream_id is not None:
            self._layer.reset(stream_id, CloseCode.INTERRUPTED)
            self._connection.flush_soon()

    def close(self, code: CloseCode, reason: str) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._handler = None
        self._read_no_more()
        if self._control_id is not None:
            self._write(self._control_id, b"", end_stream=True)
        self._connection.loop.call_soon(self._close_when_delivered, code, reason, self._delivery_deadline())

    # What the connection hands down

    def begin(self, handler: TransportHandler) -> None:
        """The session was accepted: `handler` is called from now on."""
        if not self._is_closed:
            self._handler = handler

    def moved(self, peer: str) -> None:
        if self._handler is not None:
            self._handler.path_changed(peer)

    def lost(self, reason: str) -> None:
        """The connection is gone; call the handler's `lost` once."""
        self._is_closed = True
        self._read_no_more()
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.lost(reason)

    def left(self, reason: str) -> None:
        """The caller closed the session; call the handler's `left` once."""
        self._is_closed = True
        self._read_no_more()
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.left(reason)

    def _read_no_more(self) -> None:
        self._receiver.close()
        self._readers.clear()
        self._undelivered.clear()
        self._hold_back(0)

    def received(self, event: WebTransportEvent) -> None:
        """Take an event of a stream of this session."""
        handler = self._handler
        if handler is None:
            return
        if isinstance(event, StreamData):
            handler.bytes_received(len(event.data))
            if self._handler is None:
                return
            if event.is_unidirectional:
                self._unidirectional_received(event)
            else:
                self._control_received(event)
            return
        match event:
            case DatagramReceived(data=data):
                handler.bytes_received(len(data))
                if self._handler is not None:
                    self._deliver(self._receiver.datagram_received(data))
            case SessionDraining() if not self._is_draining:
                # a proxy before this worker that goes away, say: the caller goes on over another connection
                self.send(Drain(deadline_s=PEER_DRAIN_S))
            case StreamReset(stream_id=stream_id, code=code) | StreamStopped(stream_id=stream_id, code=code):
                self._readers.pop(stream_id, None)
                self._skipped.discard(stream_id)
                # without a code of the client's it goes with its session, whose end may arrive behind it
                if stream_id == self._control_id and code is not None:
                    self._fault(Malformed("the control stream was reset", CloseCode.WRONG_ORDER))

    def _control_received(self, event: StreamData) -> None:
        if self._control is None:
            self._control = ControlReader()
            self._control_id = event.stream_id
            self._write(event.stream_id, self._waiting)
            self._waiting = b""
        elif event.stream_id != self._control_id:
            self._fault(Malformed("a session has one control stream, a second was opened", CloseCode.WRONG_ORDER))
            return
        self._read_control(self._control, event.data, event.is_ended, self._reads.left)

    def _read_control(self, reader: ControlReader, data: bytes, is_ended: bool, most: int) -> None:
        messages, fault = reader.feed(data, is_ended, 0 if self._is_control_unread else most)
        self._reads.spent(len(messages))
        for message in messages:
            if self._handler is not None:
                self._handler.message_received(message)
        if fault is not None:
            self._fault(fault)
        elif reader.has_more and not self._is_control_unread:
            self._is_control_unread = True
            self._reads.wait(self._read_control_on)
        self._count_unread()

    def _read_control_on(self) -> None:
        self._is_control_unread = False
        if self._handler is not None and self._control is not None:
            self._read_control(self._control, b"", is_ended=False, most=min(self._reads.left, FRAMES_AT_ONCE))

    def _count_unread(self) -> None:
        """Have flow control hold back what waits here, so that it grows no further than a window."""
        if self._is_closed or not (self._unread or self._is_control_unread or self._unread_bytes):
            return
        readers = [self._readers[each] for each in self._unread if each in self._readers]
        control = self._control.unread_bytes if self._control is not None else 0
        self._hold_back(control + sum(reader.unread_bytes for reader in readers))

    def _hold_back(self, unread_bytes: int) -> None:
        if unread_bytes != self._unread_bytes:
            self._connection.quic.unread_bytes += unread_bytes - self._unread_bytes
            self._unread_bytes = unread_bytes
            self._connection.flush_soon()

    def _unidirectional_received(self, event: StreamData) -> None:
        reader = self._readers.get(event.stream_id)
        if reader is None:
            if event.stream_id in self._skipped:
                if event.is_ended:
                    self._skipped.discard(event.stream_id)
                return
            if len(self._readers) >= MAX_OPEN_STREAMS:
                self._fault(Malformed(f"more than {MAX_OPEN_STREAMS} streams are open", CloseCode.WRONG_ORDER))
                return
            reader = self._readers[event.stream_id] = UnidirectionalReader()
        self._read(event.stream_id, reader, event.data, event.is_ended, self._reads.left)
        if reader.has_type and event.stream_id in self._readers:
            self._layer.pass_on(event.stream_id, partial(self._audio_received, event.stream_id, reader))

    def _audio_received(self, stream_id: int, reader: UnidirectionalReader, data: bytes) -> None:
        """Take more of a stream of audio, which may last as long as the call."""
        if self._handler is not None:
            self._handler.bytes_received(len(data))
        if self._handler is not None:
            self._read(stream_id, reader, data, is_ended=False, most=self._reads.left)

    def _read(self, stream_id: int, reader: UnidirectionalReader, data: bytes, is_ended: bool, most: int) -> None:
        """Take what a stream brings, as far as the turn and the session have room: no backlog must stall the loop."""
        frames = reader.feed(data, is_ended, 0 if stream_id in self._unread or self._is_behind() else most)
        if isinstance(frames, UnknownStream):
            del self._readers[stream_id]
            if not is_ended:
                self._skipped.add(stream_id)
            self._layer.stop(stream_id, CloseCode.NORMAL)
            self._connection.flush_soon()
            return
        if reader.is_done:
            del self._readers[stream_id]
        for frame in frames[0]:
            self._deliver(self._receiver.frame_received(frame))
        if frames[1] is not None:
            self._fault(frames[1])
        elif reader.has_more and stream_id not in self._unread:
            self._unread.add(stream_id)
            self._reads.wait(partial(self._read_on, stream_id))
        self._count_unread()

    def _read_on(self, stream_id: int) -> None:
        self._unread.discard(stream_id)
        reader = self._readers.get(stream_id)
        if self._handler is not None and reader is not None:
            self._read(stream_id, reader, b"", is_ended=False, most=min(self._reads.left, FRAMES_AT_ONCE))

    def _is_behind(self) -> bool:
        return bool(self._undelivered) or (self._handler is not None and self._handler.is_behind)

    def _deliver(self, frames: Sequence[AudioFrame] | Malformed) -> None:
        if isinstance(frames, Malformed):
            self._fault(frames)
        elif self._undelivered:
            self._undelivered.extend(frames)
        elif len(frames) > FRAMES_AT_ONCE:
            self._undelivered.extend(frames)
            self._reads.wait(self._deliver_on)
        else:
            self._reads.spent(len(frames) or 1)
            for frame in frames:
                if self._handler is not None:
                    self._handler.audio_received(frame)

    def _deliver_on(self) -> None:
        """Frames that waited for one that was missing, or stand in for it."""
        count = min(len(self._undelivered), FRAMES_AT_ONCE)
        self._reads.spent(count)
        for _ in range(count):
            if self._handler is None:
                self._undelivered.clear()
                return
            self._handler.audio_received(self._undelivered.popleft())
        if self._undelivered:
            self._reads.wait(self._deliver_on)

    def _send_report(self, report: bytes) -> None:
        self._connection.quic.keep_minimum_window(self._connection.loop.time())
        self._layer.send_datagram(self._session_id, report)
        self._connection.flush_soon()

    def _fault(self, fault: Malformed) -> None:
        """Report a breach once; the handler answers it with `close`, and nothing more is read."""
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.malformed_received(fault)
            if not self._is_closed:
                self._handler = handler

    def _downlink(self, utterance_id: int) -> int | None:
        """The open stream of an utterance; `None` once it was ended or reset."""
        if self._is_closed or utterance_id in self._ended:
            return None
        stream_id = self._downlinks.get(utterance_id)
        if stream_id is None and utterance_id > self._highest_utterance_id:
            self._highest_utterance_id = utterance_id
            self._forget_delivered()
            stream_id = self._layer.open_stream(self._session_id, is_unidirectional=True)
            self._downlinks[utterance_id] = stream_id
            self._write(stream_id, encode_varint(StreamType.DOWNLINK_AUDIO) + encode_varint(utterance_id))
        return stream_id

    def _forget_delivered(self) -> None:
        for utterance_id in [each for each in self._ended if self._layer.is_delivered(self._downlinks[each])]:
            self._ended.discard(utterance_id)
            del self._downlinks[utterance_id]

    def _write(self, stream_id: int, raw: bytes, *, end_stream: bool = False) -> None:
        self._layer.send(stream_id, raw, end_stream=end_stream)
        self._connection.flush_soon()

    def _close_when_delivered(self, code: CloseCode, reason: str, deadline: float) -> None:
        """Send the session's end behind its last messages, as it may overtake other streams."""
        loop = self._connection.loop
        if self._has_arrived(self._control_id, deadline):
            self._layer.close_session(self._session_id, code, reason)
            self._connection.flush_soon()
            self._leave_when_delivered(self._delivery_deadline())
        else:
            loop.call_later(DELIVERY_POLL_S, self._close_when_delivered, code, reason, deadline)

    def _leave_when_delivered(self, deadline: float) -> None:
        if self._has_arrived(self._session_id, deadline):
            self._left(self._session_id)
        else:
            self._connection.loop.call_later(DELIVERY_POLL_S, self._leave_when_delivered, deadline)

    def _delivery_deadline(self) -> float:
        patience_s = max(DELIVERY_DEADLINE_S, DELIVERY_PROBE_TIMEOUTS * self._connection.quic.probe_timeout_s)
        return self._connection.loop.time() + patience_s

    def _has_arrived(self, stream_id: int | None, deadline: float) -> bool:
        is_late = self._connection.loop.time() >= deadline or self._connection.quic.is_ended
        return stream_id is None or is_late or self._layer.is_delivered(stream_id)


class _Sessions:
    """The sessions of one connection. Chromium closes no connection, so the server closes it with the last session."""

    def __init__(
        self, connection: ServedConnection, accept: Acceptor, path: str, uplinks: UplinkCounters, reads: ReadScheduler
    ) -> None:
        self._connection = connection
        self._accept = accept
        self._path = path
        self._uplinks = uplinks
        self._reads = reads
        self._layer = WebTransportLayer(connection.quic)
        self._transports: dict[int, WebTransport] = {}
        self._unproven: dict[int, SessionRequested] = {}
        self._deadline = connection.loop.call_later(SESSION_DEADLINE_S, self._expect_session)

    def event_received(self, event: QuicEvent) -> None:
        if isinstance(event, PeerMoved):
            for transport in list(self._transports.values()):
                transport.moved(peer_name(event.address))
            return
        if isinstance(event, HandshakeCompleted):
            self._proven()
        for each in self._layer.handle_event(event):
            self._handle(each)

    def terminated(self, reason: str) -> None:
        self._deadline.cancel()  # or the loop would keep the connection until then
        transports, self._transports = self._transports, {}
        for transport in transports.values():
            transport.lost(reason)

    def _handle(self, event: WebTransportEvent) -> None:
        if isinstance(event, _DATA):  # nearly all are
            transport = self._transports.get(event.session_id)
            if transport is not None:
                transport.received(event)
            return
        match event:
            case SessionRequested(session_id=session_id) if not self._connection.quic.is_confirmed:
                # early data may be a replay: a session must not be made twice (RFC 8470 section 3)
                self._unproven[session_id] = event
            case SessionRequested():
                self._requested(event)
            case SessionStopped(session_id=session_id):
                self._connection.loop.call_later(STOPPED_SESSION_S, self._end_stopped, session_id)
            case SessionClosed(session_id=session_id, code=code, reason=reason):
                self._unproven.pop(session_id, None)
                transport = self._transports.pop(session_id, None)
                if transport is not None:
                    why = f"closed by the caller with code {code}: {reason}" if reason else "closed by the caller"
                    if code == CloseCode.TAKEN_OVER:
                        transport.lost(why)
                    else:
                        transport.left(why)
                    self._leave()
            case _:
                transport = self._transports.get(event.session_id)
                if transport is not None:
                    transport.received(event)

    def _proven(self) -> None:
        """The client took part in the handshake: what it asked for in early data is no replay."""
        unproven, self._unproven = self._unproven, {}
        for request in unproven.values():
            self._requested(request)

    def _requested(self, event: SessionRequested) -> None:
        path, query = split_target(event.path)
        if path != self._path:
            self._layer.refuse(event.session_id, 404)
            return
        token = access_token(event.headers, query)
        request = SessionRequest(path, self._connection.peer, token, event.origin)
        transport = WebTransport(
            self._layer, self._connection, event.session_id, self._left, self._uplinks, self._reads
        )
        answer = self._accept(request, transport)
        if isinstance(answer, Refusal):
            code = refusal_code(query, answer)
            if code is None:
                fields = refusal_fields(answer, has_token=token is not None)
                self._layer.refuse(event.session_id, answer.status, fields)
            else:
                self._transports[event.session_id] = transport
                self._layer.accept(event.session_id)
                transport.close(code, answer.reason)
            return
        self._transports[event.session_id] = transport
        transport.begin(answer)
        for early in self._layer.accept(event.session_id):
            self._handle(early)

    def _end_stopped(self, session_id: int) -> None:
        for each in self._layer.end_stopped_session(session_id):
            self._handle(each)
        self._connection.flush_soon()

    def _left(self, session_id: int) -> None:
        if self._transports.pop(session_id, None) is not None:
            self._leave()

    def _leave(self) -> None:
        if not self._transports:
            self._connection.close(H3_NO_ERROR, "")

    def _expect_session(self) -> None:
        if not self._transports and not self._connection.quic.is_ended:
            self._connection.close(H3_NO_ERROR, "no session was opened")
