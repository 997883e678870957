"""One WebSocket, seen from the server: whole messages in, calls that never block out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Protocol

import structlog
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from quiclb.logs.limits import LimitedLog
from voicelink.net.token_bucket import TokenBucket

MAX_FRAGMENTS: Final = 64
"""Frames of one message; more close the WebSocket with 1008."""
EXTRA_FRAMES_PER_S: Final = 100.0
"""Frames that end no message (fragments and control frames), and all after our own close: as many a second and at once;
more close with 1008. Messages are limited by their handler."""
FRAMES_AT_ONCE: Final = 8
"""Frames of one connection after which it waits for its turn among those of other networks."""
SLICE_BYTES: Final = 256
"""What is parsed at once, so that a turn cannot hold thousands of empty frames: at most 42 of 6 bytes."""
MAX_UNSENT_BYTES: Final = 8 << 20
"""What may wait for a peer that does not read: a quarter of an hour of G.711 in JSON."""
LINGER_S: Final = 2.0
"""How long the other side has to answer a close, and then the network to take what is unsent."""

SILENT_LOG: Final = logging.Logger("gateway.websocket", logging.CRITICAL)
"""What `websockets` would log at lower levels holds payloads: speech."""
_log = LimitedLog(structlog.get_logger("voice_gateway.web"))


class Ending(Enum):
    """How a WebSocket ended."""

    BROKEN = auto()
    """Its connection did, or we closed it."""
    CLOSED = auto()
    """The peer closed it."""
    TOO_LARGE = auto()
    """The peer sent a message larger than is taken."""


class WebSocketHandler(Protocol):
    """What a socket calls, on the event loop, in the order in which the messages arrived."""

    def text_received(self, text: bytes) -> None:
        """A text message, as its bytes; whether they are UTF-8 was not looked at."""

    def binary_received(self, raw: bytes) -> None:
        """A binary message."""

    def closed(self, reason: str, ending: Ending) -> None:
        """Nothing arrives any more; called once."""


class WebSocket:
    """Send with `send_text` and `send_binary`, end with `close`; after that, or once the peer left, they do nothing.

    What is sent before the socket opens follows the handshake. `on_cut_off` gets the cause when a
    WebSocket was ended for what its peer did or left undone: `frame_rate`, `fragments`, `unread`, or `failed` for a
    defect of ours.
    """

    def __init__(
        self,
        protocol: ServerProtocol,
        writer: asyncio.StreamWriter,
        loop: asyncio.AbstractEventLoop,
        on_cut_off: Callable[[str], None] = lambda cause: None,
    ) -> None:
        self._protocol = protocol
        self._writer = writer
        self._loop = loop
        self._on_cut_off = on_cut_off
        self._extra_frames = TokenBucket(EXTRA_FRAMES_PER_S, EXTRA_FRAMES_PER_S)
        self.is_cut_off = False
        """Whether it was failed for a breach: nothing more is parsed."""
        self._early: list[Callable[[], None]] = []
        self._handler: WebSocketHandler | None = None
        self._message = bytearray()
        self._fragment_count = 0
        self._is_text = False
        self._has_said_close = False
        self._linger: tuple[asyncio.TimerHandle, ...] = ()

    @property
    def received_close_code(self) -> int | None:
        """The code with which the peer closed, if it did."""
        received = self._protocol.close_rcvd
        return None if received is None else received.code

    @property
    def now(self) -> float:
        """The event loop's clock, in seconds."""
        return self._loop.time()

    def send_text(self, text: bytes) -> None:
        if self._protocol.state is State.CONNECTING:
            self._early.append(lambda: self.send_text(text))
        elif self._is_open:
            self._protocol.send_text(text)
            self.flush()

    def send_binary(self, raw: bytes) -> None:
        if self._protocol.state is State.CONNECTING:
            self._early.append(lambda: self.send_binary(raw))
        elif self._is_open:
            self._protocol.send_binary(raw)
            self.flush()

    def close(self, code: int, reason: str) -> None:
        """Send what is queued, then the close frame; what still arrives is dropped."""
        if self._protocol.state is State.CONNECTING:
            self._early.append(lambda: self.close(code, reason))
        elif self._is_open:
            self._has_said_close = True
            self._protocol.send_close(code, reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore"))
            self.flush()

    def open(self, handler: WebSocketHandler) -> None:
        """The handshake is done: `handler` is called from now on."""
        self._handler = handler
        self.flush()
        early, self._early = self._early, []
        for send in early:
            send()

    def received(self, data: bytes) -> int:
        """Take at most `SLICE_BYTES` of the connection, and return how many frames they completed."""
        if self.is_cut_off:
            return 0
        self._protocol.receive_data(data)
        events = self._protocol.events_received()
        for event in events:
            if not isinstance(event, Frame):
                continue
            is_wanted = event.fin and event.opcode in _DATA and not self._has_said_close
            if not is_wanted and not self._extra_frames.take(1, self._loop.time()):
                self._cut_off("frame_rate", "too many control frames or fragments")
            elif event.opcode in _DATA and not self._has_said_close:
                self._assemble(event)
            if self.is_cut_off:
                break
        self.flush()
        if self._protocol.state is not State.OPEN:
            self.ended()
        return len(events)

    def ended(self) -> None:
        """The WebSocket is over, by either side's close or with its connection: call the handler's `closed` once."""
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.closed(self._why(), self._ending())

    def detached(self) -> None:
        for timer in self._linger:
            timer.cancel()
        self.ended()

    def flush(self) -> None:
        """Hand what the protocol wants sent to the connection."""
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)
            elif self._protocol.close_rcvd is not None:
                self._writer.close()
            elif self._writer.can_write_eof():
                self._writer.write_eof()
        if self._writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            _log.warning("websocket_unread", unsent_bytes=self._writer.transport.get_write_buffer_size())
            self._on_cut_off("unread")
            self._writer.transport.abort()
        if self._protocol.close_expected() and not self._linger:
            self._linger = (
                self._loop.call_later(LINGER_S, self._writer.close),
                self._loop.call_later(2 * LINGER_S, self._writer.transport.abort),
            )

    @property
    def _is_open(self) -> bool:
        return self._protocol.state is State.OPEN and not self._writer.is_closing()

    def _assemble(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
            self._message.clear()
            self._fragment_count = 0
        self._fragment_count += 1
        if self._fragment_count > MAX_FRAGMENTS:
            self._cut_off("fragments", f"a message has at most {MAX_FRAGMENTS} fragments")
            return
        if not frame.fin:
            self._message += frame.data
            return
        message = bytes(self._message + frame.data) if self._message else bytes(frame.data)
        self._message.clear()
        if self._handler is None:
            return
        try:
            (self._handler.text_received if self._is_text else self._handler.binary_received)(message)
        except Exception:
            # a defect in one session must not reach the server's other connections
            _log.exception("websocket_handler_failed")
            self._on_cut_off("failed")
            self.close(CloseCode.INTERNAL_ERROR, "internal error")

    def _cut_off(self, cause: str, reason: str) -> None:
        """Close with 1008; what still arrives is not parsed any more (RFC 6455 section 7.1.7)."""
        self.is_cut_off = True
        self._message.clear()
        self._on_cut_off(cause)
        self._protocol.fail(CloseCode.POLICY_VIOLATION, reason)

    def _ending(self) -> Ending:
        sent = self._protocol.close_sent
        if sent is not None and sent.code == CloseCode.MESSAGE_TOO_BIG:
            return Ending.TOO_LARGE
        is_closed = self._protocol.close_rcvd is not None and not self._has_said_close
        return Ending.CLOSED if is_closed else Ending.BROKEN

    def _why(self) -> str:
        received, sent = self._protocol.close_rcvd, self._protocol.close_sent
        if received is not None:
            return f"closed by the caller with code {received.code}" + (
                f": {received.reason}" if received.reason else ""
            )
        if sent is not None:
            return f"closed with code {sent.code}: {sent.reason}"
        return "the connection broke"


_DATA: Final = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
_MAX_REASON_BYTES: Final = 123
"""RFC 6455 section 5.5: a control frame carries 125 bytes, two of them the code."""
