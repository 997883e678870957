"""Voice sessions over one WebSocket, for callers whose network lets no UDP through.

Each binary message is a kind byte and what would be on a stream of that kind: PROTOCOL.md, "Over one WebSocket".
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from http import HTTPStatus
from typing import Final

from voice_gateway.transport.access import access_token, refusal_code, refusal_fields
from voice_gateway.transport.base import Acceptor, Refusal, SessionRequest, TransportHandler
from voice_gateway.web.server import WebRequest, WebResponse
from voice_gateway.web.websocket import Ending, WebSocket
from voicelink.net.token_bucket import TokenBucket
from voicelink.wire import (
    MAX_CONTROL_BYTES,
    AudioFrame,
    CloseCode,
    Malformed,
    ServerMessage,
    decode_audio_frame,
    decode_client_message,
    encode_audio_frame,
    encode_message,
    encode_varint,
)

MAX_MESSAGE_BYTES: Final = MAX_CONTROL_BYTES + 1
SKIPPED_PER_S: Final = 100.0
"""Messages of unknown kinds and types: as many a second and at once; more end the session with `OVERLOADED`."""
CLOSE_CODE_BASE: Final = 4000
"""A session that ends with `CloseCode` n closes the WebSocket with this plus n (RFC 6455 section 7.4.2)."""


class Kind(IntEnum):
    """The first byte of every message."""

    CONTROL = 0
    UPLINK_AUDIO = 1
    DOWNLINK_AUDIO = 2
    END = 3
    """All of an utterance was sent."""
    RESET = 4
    """The rest of an utterance is not wanted (barge-in)."""


class VoiceOverWebSocket:
    """Takes WebSockets on the voice path (`voice_gateway.web.server.Upgrade`): asks `accept` for each."""

    def __init__(self, accept: Acceptor) -> None:
        self._accept = accept

    def __call__(self, request: WebRequest, socket: WebSocket) -> WebSocketTransport | WebResponse:
        query = request.query
        token = access_token(request.headers, query)
        asked = SessionRequest(request.path, request.peer, token, request.headers.get("origin"))
        transport = WebSocketTransport(socket)
        answer = self._accept(asked, transport)
        if isinstance(answer, Refusal):
            code = refusal_code(query, answer)
            if code is None:
                fields = refusal_fields(answer, has_token=token is not None)
                return WebResponse(HTTPStatus(answer.status), f"{answer.reason}\n", headers=fields)
            transport.close(code, answer.reason)
        else:
            transport.begin(answer)
        return transport


class WebSocketTransport:
    """`voice_gateway.transport.base.Transport` over one WebSocket, and that socket's handler."""

    kind = "websocket"
    datagrams = 0
    datagram_uplink = None
    connection_id = None

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._handler: TransportHandler | None = None
        self._is_closed = False
        self._skipped = TokenBucket(SKIPPED_PER_S, SKIPPED_PER_S)
        self._ended: set[int] = set()
        self._reset: set[int] = set()

    def begin(self, handler: TransportHandler) -> None:
        """The session was accepted: `handler` is called from now on."""
        if not self._is_closed:
            self._handler = handler

    # gateway.transport.base.Transport

    def send(self, message: ServerMessage) -> None:
        self._send(Kind.CONTROL, encode_message(message))

    def send_audio(self, utterance_id: int, frames: Sequence[AudioFrame]) -> None:
        for frame in frames:
            data = encode_audio_frame(frame)
            if utterance_id not in self._ended:
                self._send(Kind.DOWNLINK_AUDIO, encode_varint(utterance_id) + data)

    def end_audio(self, utterance_id: int) -> None:
        if utterance_id not in self._ended:
            self._ended.add(utterance_id)
            self._send(Kind.END, encode_varint(utterance_id))

    def reset_audio(self, utterance_id: int) -> None:
        if utterance_id not in self._reset:
            self._reset.add(utterance_id)
            self._ended.add(utterance_id)
            self._send(Kind.RESET, encode_varint(utterance_id))

    def close(self, code: CloseCode, reason: str) -> None:
        if not self._is_closed:
            self._end()
            self._socket.close(CLOSE_CODE_BASE + code, reason)

    # gateway.web.websocket.WebSocketHandler

    def text_received(self, text: bytes) -> None:
        self._fault(Malformed("messages are binary, a text message arrived"))

    def binary_received(self, data: bytes) -> None:
        if self._handler is not None:
            self._handler.bytes_received(len(data))
        handler = self._handler
        if handler is None:
            return
        if not data:
            self._fault(Malformed("a message begins with its kind, an empty one arrived"))
        elif data[0] == Kind.CONTROL:
            message = decode_client_message(data[1:])
            if isinstance(message, Malformed):
                self._fault(message)
            elif message is not None:
                handler.message_received(message)
            else:
                self._skip()
        elif data[0] == Kind.UPLINK_AUDIO:
            frame = decode_audio_frame(data[1:])
            if isinstance(frame, Malformed):
                self._fault(frame)
            else:
                handler.audio_received(frame)
        else:
            self._skip()

    def closed(self, reason: str, ending: Ending) -> None:
        handler = self._handler
        self._end()
        if handler is None:
            return
        match ending:
            case Ending.TOO_LARGE:
                handler.malformed_received(Malformed(f"a message's body holds at most {MAX_CONTROL_BYTES} bytes"))
            case Ending.CLOSED if self._socket.received_close_code != CLOSE_CODE_BASE + CloseCode.TAKEN_OVER:
                handler.left(reason)
            case Ending.CLOSED | Ending.BROKEN:
                handler.lost(reason)

    def _skip(self) -> None:
        """Pass over a message from a later version of the protocol; no session counts it."""
        if not self._skipped.take(1, self._socket.now):
            self._fault(Malformed("too many messages of unknown kinds arrive", CloseCode.OVERLOADED))

    def _fault(self, fault: Malformed) -> None:
        """Report a breach once; the handler answers it with `close`, and nothing more is read."""
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.malformed_received(fault)
            if not self._is_closed:
                self._handler = handler

    def _send(self, kind: Kind, body: bytes) -> None:
        if not self._is_closed:
            self._socket.send_binary(bytes((kind,)) + body)

    def _end(self) -> None:
        self._is_closed = True
        self._handler = None
