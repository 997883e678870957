"""Callers for the transport's contract: in memory, over WebTransport on a loop the test moves, over WebSocket."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from tests.unit.voicelink.quic.harness import SERVER_ADDRESS, Pair, connected
from voice_gateway.endpoint.served import ServedConnection
from voice_gateway.transport.base import Acceptor, Refusal, SessionRequest, Transport, TransportHandler
from voice_gateway.transport.memory import Downlink, MemoryCaller
from voice_gateway.transport.websocket import CLOSE_CODE_BASE, MAX_MESSAGE_BYTES, Kind, VoiceOverWebSocket
from voice_gateway.transport.webtransport import VoiceOverWebTransport
from voice_gateway.web.server import WebRequest, WebResponse
from voice_gateway.web.websocket import SILENT_LOG, WebSocket
from voicelink.h3.webtransport import (
    SessionClosed,
    SessionDraining,
    SessionRefused,
    StreamData,
    StreamReset,
    WebTransportLayer,
)
from voicelink.net.deadline_queue import DeadlineQueue
from voicelink.wire import (
    VOICE_PATH,
    AudioFrame,
    ClientMessage,
    LengthPrefixedReader,
    Malformed,
    ServerMessage,
    StreamType,
    decode_audio_frame,
    decode_server_message,
    decode_varint,
    encode_audio_frame,
    encode_message,
    encode_varint,
    length_prefixed,
)


@dataclass
class Session(TransportHandler):
    """The session's side: an acceptor and a handler that record each call."""

    refusal: Refusal | None = None
    requests: list[SessionRequest] = field(default_factory=list)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    at_once: Callable[[Transport], None] = lambda transport: None
    transport: Transport | None = None
    is_behind: bool = False

    def accept(self, request: SessionRequest, transport: Transport) -> Session | Refusal:
        self.requests.append(request)
        self.transport = transport
        self.at_once(transport)
        return self.refusal or self

    def message_received(self, message: ClientMessage) -> None:
        self.calls.append(("message", message))

    def audio_received(self, frame: AudioFrame) -> None:
        self.calls.append(("audio", frame))

    def malformed_received(self, fault: Malformed) -> None:
        self.calls.append(("malformed", fault))

    def path_changed(self, peer: str) -> None:
        self.calls.append(("path", peer))

    def lost(self, reason: str) -> None:
        self.calls.append(("lost", reason))

    def left(self, reason: str) -> None:
        self.calls.append(("left", reason))


class Caller(Protocol):
    """What the contract suite asks of a caller over any transport; `deliver_all` lets everything in flight arrive."""

    refusal: Refusal | None
    messages: list[ServerMessage]
    utterances: dict[int, Downlink]

    @property
    def closed(self) -> tuple[int, str] | None: ...
    def send(self, message: ClientMessage) -> None: ...
    def send_raw_control(self, raw: bytes) -> None: ...
    def send_audio(self, frame: AudioFrame) -> None: ...
    def move(self, peer: str) -> None: ...
    def hang_up(self, reason: str) -> None: ...
    def deliver_all(self) -> None: ...


class DeliveringMemoryCaller(MemoryCaller):
    def deliver_all(self) -> None:
        """Nothing is ever in flight."""


@dataclass
class ManualLoop:
    """The few calls of an event loop that a connection needs, on a clock of its own."""

    now: float = 10.0
    _due: list[tuple[float, int, _Handle]] = field(default_factory=list)
    _order: Any = field(default_factory=count)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *args: Any) -> Any:
        handle = _Handle(callback, args)
        heapq.heappush(self._due, (when, next(self._order), handle))
        return handle

    def call_later(self, delay: float, callback: Callable[..., None], *args: Any) -> Any:
        return self.call_at(self.now + delay, callback, *args)

    def call_soon(self, callback: Callable[..., None], *args: Any) -> Any:
        return self.call_at(self.now, callback, *args)

    def run_until(self, end: float) -> None:
        while self._due and self._due[0][0] <= end:
            when, _, handle = heapq.heappop(self._due)
            self.now = max(self.now, when)
            if not handle.is_cancelled:
                handle.callback(*handle.args)
        self.now = end


@dataclass
class _Handle:
    callback: Callable[..., None]
    args: tuple[Any, ...]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self.callback, self.args = _ignore, ()  # as asyncio does


def _ignore() -> None: ...


class WebTransportCaller:
    """A client's WebTransport layer in memory, joined to a server's `ServedConnection`."""

    def __init__(self, accept: Acceptor, path: str = VOICE_PATH, headers: dict[str, str] | None = None) -> None:
        self.refusal: Refusal | None = None
        self.messages: list[ServerMessage] = []
        self.utterances: dict[int, Downlink] = {}
        self.closed: tuple[int, str] | None = None
        self.drains = 0
        self.is_gone = False
        self.loop = ManualLoop()
        self.pair: Pair = connected(is_handshaken=False)
        self.address: Any = self.pair.client_address
        self.application = VoiceOverWebTransport(accept)
        deadlines = DeadlineQueue(self.loop)
        self.served = ServedConnection(self.pair.server, _Owner(self), self.application, self.loop, deadlines)  # type: ignore[arg-type]
        self.layer = WebTransportLayer(self.pair.client)
        self.session_id = self.layer.connect("gateway.example", path, headers)
        self.control = self.layer.open_stream(self.session_id, is_unidirectional=False)
        self.uplink = self.layer.open_stream(self.session_id, is_unidirectional=True)
        self.layer.send(self.uplink, encode_varint(StreamType.UPLINK_AUDIO))
        self._control_reader = LengthPrefixedReader(1 << 20)
        self._downlinks: dict[int, tuple[bytearray, int | None]] = {}
        self.errors = 0
        self.deliver_all()

    # The caller

    def send(self, message: ClientMessage) -> None:
        self.send_raw_control(length_prefixed(encode_message(message)))

    def send_raw_control(self, raw: bytes) -> None:
        self.layer.send(self.control, raw)
        self.deliver_all()

    def send_audio(self, frame: AudioFrame) -> None:
        self.layer.send(self.uplink, length_prefixed(encode_audio_frame(frame)))
        self.deliver_all()

    def move(self, peer: str) -> None:
        host, _, port = peer.rpartition(":")
        self.address = (host, int(port))
        self.pair.client.begin_migration(self.loop.now)
        self.deliver_all()

    def hang_up(self, reason: str) -> None:
        self.pair.client.close(error_code=0, reason_phrase=reason)
        self.deliver_all()

    def deliver_all(self, duration_s: float = 0.5) -> None:
        end = self.loop.now + duration_s
        while self.loop.now < end:
            for datagram, _ in self.pair.client.datagrams_to_send(self.loop.now):
                self.served.received(datagram, self.address, None)
            self.loop.run_until(self.loop.now + 0.005)
            timer_at = self.pair.client.get_timer()
            if timer_at is not None and timer_at <= self.loop.now:
                self.pair.client.handle_timer(self.loop.now)
            self._handle_events()

    def _handle_events(self) -> None:
        while (event := self.pair.client.next_event()) is not None:
            for each in self.layer.handle_event(event):
                match each:
                    case SessionRefused(status=status):
                        self.refusal = Refusal(status, "")
                    case SessionClosed(code=code, reason=reason):
                        self.closed = (code, reason)
                    case SessionDraining():
                        self.drains += 1
                    case StreamData(is_unidirectional=True):
                        self._downlink(each)
                    case StreamData(data=data):
                        bodies = self._control_reader.feed(data)
                        assert not isinstance(bodies, Malformed)
                        self.messages += [decode_server_message(body) for body in bodies]  # type: ignore[misc]
                    case StreamReset(stream_id=stream_id, code=code):
                        assert code == 11
                        _, utterance_id = self._downlinks[stream_id]
                        assert utterance_id is not None
                        self.utterances[utterance_id].is_reset = True

    def _downlink(self, event: StreamData) -> None:
        buffer, utterance_id = self._downlinks.setdefault(event.stream_id, (bytearray(), None))
        buffer += event.data
        if utterance_id is None:
            kind = decode_varint(buffer)
            number = decode_varint(buffer, kind[1]) if kind else None
            if kind is None or number is None:
                return
            assert kind[0] == StreamType.DOWNLINK_AUDIO
            utterance_id = number[0]
            del buffer[: number[1]]
            self._downlinks[event.stream_id] = (buffer, utterance_id)
            self.utterances[utterance_id] = Downlink()
        while (head := decode_varint(buffer)) is not None and len(buffer) >= sum(head):
            frame = decode_audio_frame(bytes(buffer[head[1] : sum(head)]))
            assert isinstance(frame, AudioFrame)
            self.utterances[utterance_id].frames.append(frame)
            del buffer[: sum(head)]
        self.utterances[utterance_id].is_ended = event.is_ended


class WebSocketCaller:
    """A client of `websockets` without a socket, joined to the server's `WebSocket` by their bytes."""

    def __init__(self, accept: Acceptor, path: str = VOICE_PATH, headers: dict[str, str] | None = None) -> None:
        self.refusal: Refusal | None = None
        self.messages: list[ServerMessage] = []
        self.utterances: dict[int, Downlink] = {}
        self.closed: tuple[int, str] | None = None
        self.client = ClientProtocol(parse_uri(f"ws://gateway.example{path}"))
        self.to_client = bytearray()
        protocol = ServerProtocol(max_size=MAX_MESSAGE_BYTES, logger=SILENT_LOG)
        self.server = WebSocket(protocol, self, ManualLoop())  # type: ignore[arg-type]
        asked = self.client.connect()
        self.client.send_request(asked)
        protocol.receive_data(b"".join(self.client.data_to_send()))
        (event,) = protocol.events_received()
        request = WebRequest("GET", path, {k.lower(): v for k, v in (headers or {}).items()}, "198.51.100.7:40001")
        handler = VoiceOverWebSocket(accept)(request, self.server)
        if isinstance(handler, WebResponse):
            self.refusal = Refusal(handler.status, handler.text)
            return
        protocol.send_response(protocol.accept(event))  # type: ignore[arg-type]
        self.server.open(handler)
        self.deliver_all()

    # The caller

    def send(self, message: ClientMessage) -> None:
        self.send_kind(Kind.CONTROL, encode_message(message))

    def send_raw_control(self, raw: bytes) -> None:
        """What stands behind its length on a stream is a message of its own here, cut short or not."""
        head = decode_varint(raw)
        assert head is not None
        self.send_kind(Kind.CONTROL, raw[head[1] :].ljust(head[0], b"\0"))

    def send_audio(self, frame: AudioFrame) -> None:
        self.send_kind(Kind.UPLINK_AUDIO, encode_audio_frame(frame))

    def send_kind(self, kind: int, body: bytes) -> None:
        if self.refusal is None and self.client.state is State.OPEN:
            self.client.send_binary(bytes((kind,)) + body)
            self.deliver_all()

    def move(self, peer: str) -> None:
        raise NotImplementedError("a WebSocket keeps its address")

    def hang_up(self, reason: str) -> None:
        self.server.detached()

    def leave(self) -> None:
        """Close the WebSocket."""
        self.client.send_close(1000)
        self.deliver_all()

    def deliver_all(self) -> None:
        while self.refusal is None:
            to_server = b"".join(self.client.data_to_send())
            to_client, self.to_client = bytes(self.to_client), bytearray()
            if not to_server and not to_client:
                return
            if to_server:
                self.server.received(to_server)
            if to_client:
                self.client.receive_data(to_client)
                self._handle_events()

    # asyncio.StreamWriter, as far as a socket uses it

    @property
    def transport(self) -> WebSocketCaller:
        return self

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        self.to_client += data

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        """The bytes written before still arrive."""

    def abort(self) -> None:
        """Nothing is ever in flight."""

    def _handle_events(self) -> None:
        for event in self.client.events_received():
            if not isinstance(event, Frame):
                continue
            if event.opcode is Opcode.CLOSE:
                close = Close.parse(event.data)
                self.closed = (close.code - CLOSE_CODE_BASE, close.reason)
            elif event.opcode is Opcode.BINARY:
                self._received(Kind(event.data[0]), bytes(event.data[1:]))

    def _received(self, kind: Kind, body: bytes) -> None:
        if kind is Kind.CONTROL:
            message = decode_server_message(body)
            assert message is not None
            assert not isinstance(message, Malformed)
            self.messages.append(message)
            return
        head = decode_varint(body)
        assert head is not None
        downlink = self.utterances.setdefault(head[0], Downlink())
        if kind is Kind.DOWNLINK_AUDIO:
            frame = decode_audio_frame(body[head[1] :])
            assert isinstance(frame, AudioFrame)
            downlink.frames.append(frame)
        downlink.is_ended = downlink.is_ended or kind is Kind.END
        downlink.is_reset = downlink.is_reset or kind is Kind.RESET


@dataclass
class _Owner:
    """The endpoint's part, for one connection."""

    caller: WebTransportCaller

    def send(self, datagram: bytes, path: Any, forwarder: Any) -> None:
        if path == self.caller.address:
            self.caller.pair.client.receive_datagram(datagram, SERVER_ADDRESS, self.caller.loop.now)

    def flush_soon(self, connection: ServedConnection) -> None:
        self.caller.loop.call_soon(connection.flush)

    def cid_issued(self, cid: bytes, connection: ServedConnection) -> None: ...
    def cid_retired(self, cid: bytes, connection: ServedConnection, after_s: float) -> None: ...
    def handshake_completed(self, connection: ServedConnection) -> None: ...
    def path_changed(self, connection: ServedConnection) -> None: ...

    def failed(self) -> None:
        self.caller.errors += 1

    def ended(self, connection: ServedConnection, error_code: int | None) -> None:
        self.caller.is_gone = True
