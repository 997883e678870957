"""One telephone call: a vendor's media stream as a session's messages and frames, and back."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from quiclb.logs.limits import LimitedLog
from voice_gateway.net.token_buckets import Buckets, Rate
from voice_gateway.telephony.playback import PlaybackPosition, PlaybackTracker
from voice_gateway.telephony.uplink_clock import BYTES_PER_MS, MAX_FRAME_BYTES, UplinkClock
from voice_gateway.telephony.vendor import (
    KeyPressed,
    MarkReturned,
    MediaReceived,
    Skip,
    StreamStarted,
    StreamStopped,
    Vendor,
    VendorEvent,
)
from voice_gateway.transport.base import Acceptor, Refusal, SessionRequest, TransportHandler
from voice_gateway.web.websocket import Ending, WebSocket
from voicelink.wire import (
    MAX_AUDIO_BYTES,
    AudioFrame,
    Bye,
    CloseCode,
    Codec,
    Drain,
    Dtmf,
    Played,
    Ready,
    ServerMessage,
    Start,
    Transfer,
)

START_TIMEOUT_S: Final = 10.0
"""How long a stream may be open without `start`."""
MAX_MESSAGES_BEFORE_START: Final = 8
"""A vendor sends one or two; more messages before the start close the stream with 1008."""
MESSAGES_PER_S: Final = 200.0
MESSAGES_AT_ONCE: Final = 2_000.0
"""Messages of any kind, 40 s of audio at once after an outage; more close the stream with 1008."""
TOKEN_PARAMETER: Final = "token"  # noqa: S105 - the name of one
AGENT_PARAMETER: Final = "agent"
_REPORT_EVERY: Final = 5
"""Frames of the caller between two reports of what was played: 100 ms."""
_MOST_HELD: Final = 500
"""Events, 10 s of audio, that wait for the session store to say where the call stands."""
_log = structlog.get_logger("gateway.telephony")
_limited_log = LimitedLog(_log)


@dataclass(slots=True)
class TelephonyCounters:
    """Totals since the worker began; `skipped` counts the vendor's messages by `Skip`."""

    streams: int = 0
    refused_signatures: int = 0
    refused_replays: int = 0
    refused_streams: int = 0
    twiml_pages: int = 0
    messages: int = 0
    limited: int = 0
    """Streams closed for more messages than a limit."""
    missing_messages: int = 0
    digits: int = 0
    marks_sent: int = 0
    marks_played: int = 0
    marks_cleared: int = 0
    clears: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Vouched:
    """What speaks for a stream: the access token that it shows, and whether its call's SID is proven."""

    access_token: str | None = field(repr=False)
    is_key_signed: bool = False


_HeldEvent = MediaReceived | MarkReturned | KeyPressed | StreamStopped
Vouch = Callable[[str, Mapping[str, str]], Awaitable[Vouched | None]]
"""Says what speaks for the stream of a call, by its SID and custom parameters; `None` refuses it. Does not raise."""


class TelephoneCall:
    """`voice_gateway.transport.base.Transport` over the WebSocket of one stream, and that socket's handler.

    It asks `accept` when the stream starts, with the call's ID as the key and, unless `vouch` gives another one, the
    parameter `token` as the access token, and starts the session in G.711 with the agent of the parameter `agent`.
    Events before the session is `Ready`, new or resumed by the call's ID, are held back. When the worker drains the
    stream ends, so that the vendor asks for another one.
    """

    datagrams = 0
    datagram_uplink = None
    connection_id = None

    def __init__(
        self,
        vendor: Vendor,
        socket: WebSocket,
        path: str,
        peer: str,
        accept: Acceptor,
        counters: TelephonyCounters,
        *,
        is_signed: bool = False,
        vouch: Vouch | None = None,
    ) -> None:
        self.kind = vendor.name
        self._vendor = vendor
        self._socket = socket
        self._path = path
        self._peer = peer
        self._accept = accept
        self._counters = counters
        self._is_signed = is_signed
        self._vouch = vouch
        self._vouching: asyncio.Task[None] | None = None
        self._held: deque[_HeldEvent] | None = deque()
        self._may_return = False
        self._loop = asyncio.get_running_loop()
        self._log = _log.bind(peer=peer)
        self._stream_id: str | None = None
        self._call_id: str | None = None
        self._handler: TransportHandler | None = None
        self._uplink = UplinkClock()
        self._playback = PlaybackTracker()
        self._reported: PlaybackPosition | None = None
        self._over: set[int] = set()
        self._last_sequence: int | None = None
        self._early_messages = 0
        self._messages = Buckets(Rate(MESSAGES_PER_S, MESSAGES_AT_ONCE), most_keys=1)
        self._skipped: set[Skip] = set()
        self._plays_until = 0.0
        self._is_stopped = False
        self._is_closed = False
        self._target: str | None = None
        self._is_proven = False
        self.on_ended: Callable[[str, str | None], None] = lambda call_id, target: None
        """Takes a call that the agent ends, and the target of its transfer; of a call whose ID is proven only."""
        self._start_timer = self._loop.call_later(START_TIMEOUT_S, self._expect_start)
        counters.streams += 1

    # gateway.transport.base.Transport

    def send(self, message: ServerMessage) -> None:
        """A telephone shows no messages: what one means for the audio comes by the calls below."""
        if isinstance(message, Ready):
            self._log.info("call_connected", session=message.session)
            self._ready(message)
        elif isinstance(message, Drain) and self._may_return:
            self._leave("this worker is going away")
        elif isinstance(message, Transfer):
            self._target = message.target
        elif isinstance(message, Bye) and self._call_id and self._is_proven and not self._is_stopped:
            self.on_ended(self._call_id, self._target)

    def send_audio(self, utterance_id: int, frames: Sequence[AudioFrame]) -> None:
        for frame in frames:
            self._send_frame(utterance_id, frame)

    def _send_frame(self, utterance_id: int, frame: AudioFrame) -> None:
        if len(frame.payload) > MAX_AUDIO_BYTES:
            raise ValueError(f"an audio payload holds at most {MAX_AUDIO_BYTES} bytes, got {len(frame.payload)}")
        if frame.codec is not Codec.PCMU:
            raise ValueError(f"a telephone call takes PCMU, got {frame.codec.name}")
        if self._may_speak(utterance_id) and self._stream_id is not None:
            self._socket.send_text(self._vendor.media(self._stream_id, frame.payload))
            duration_ms = len(frame.payload) / BYTES_PER_MS
            self._plays_until = max(self._plays_until, self._loop.time()) + duration_ms / 1000
            self._mark(self._playback.sent(utterance_id, duration_ms))

    def end_audio(self, utterance_id: int) -> None:
        if self._may_speak(utterance_id):
            self._over.add(utterance_id)
            self._mark(self._playback.ended(utterance_id))

    def reset_audio(self, utterance_id: int) -> None:
        """Vendors drop all queued audio or none, so a reset drops that of every utterance."""
        self._over.add(utterance_id)
        if not self._is_closed and self._stream_id is not None and self._playback.has_pending:
            message = self._vendor.clear(self._stream_id)
            if message is not None:
                self._playback.cleared()
                self._plays_until = 0.0
                self._counters.clears += 1
                self._socket.send_text(message)

    def close(self, code: CloseCode, reason: str) -> None:
        if not self._is_closed:
            self._end()
            self._socket.close(_CLOSE_CODES.get(code, _NORMAL), reason)

    # gateway.web.websocket.WebSocketHandler

    def text_received(self, text: bytes) -> None:
        if self._is_closed:
            return
        self._counters.messages += 1
        if not self._is_within_limits():
            return
        if self._handler is not None:
            self._handler.bytes_received(len(text))
            if self._is_closed:
                return
        event = self._vendor.parse(text)
        if event is None:
            return
        fault = event if isinstance(event, Skip) else self._receive(event)
        if fault is not None:
            self._skip(fault)

    def binary_received(self, data: bytes) -> None:
        if not self._is_closed:
            self._counters.messages += 1
            if self._is_within_limits():
                self._skip(Skip.BINARY)

    def closed(self, reason: str, ending: Ending) -> None:
        if ending is Ending.TOO_LARGE:
            self._skip(Skip.TOO_LARGE)
        if self._is_closed:
            return
        handler = self._handler
        is_lost = not self._is_stopped
        self._end()
        if handler is not None and is_lost:
            handler.lost(reason)

    def _is_within_limits(self) -> bool:
        """Count a message; beyond a limit the stream is closed, before the message is read."""
        if self._stream_id is None:
            self._early_messages += 1
            if self._early_messages > MAX_MESSAGES_BEFORE_START:
                self._close_beyond("too many messages before start")
                return False
        elif self._messages.take("", 1, self._loop.time()) > 0:
            self._close_beyond("too many messages")
            return False
        return True

    def _close_beyond(self, reason: str) -> None:
        handler = self._handler
        self._counters.limited += 1
        self._end()
        self._socket.close(_REFUSED, reason)
        if handler is not None:
            handler.lost(reason)

    def _receive(self, event: VendorEvent) -> Skip | None:
        if isinstance(event, StreamStarted):
            return Skip.SECOND_START if self._stream_id is not None else self._start(event)
        if self._stream_id is None or (self._handler is None and self._vouching is None):
            return Skip.BEFORE_START
        if event.stream_id != self._stream_id:
            return Skip.WRONG_STREAM
        if self._is_stopped:
            return Skip.AFTER_STOP
        self._count_missing(event.sequence)
        if self._held is None and self._handler is not None:
            return self._take(event, self._handler)
        if self._held is None or len(self._held) == _MOST_HELD:
            return Skip.BEFORE_READY
        self._held.append(event)
        return None

    def _take(self, event: _HeldEvent, handler: TransportHandler) -> Skip | None:
        match event:
            case MediaReceived():
                return self._hear(event, handler)
            case MarkReturned():
                self._returned(event.name, handler)
            case KeyPressed():
                self._counters.digits += 1
                handler.message_received(Dtmf(digit=event.digit))
            case StreamStopped():
                self._is_stopped = True
                handler.message_received(Bye(frames=self._uplink.next_sequence, reason="the call ended"))
        return None

    def _ready(self, ready: Ready) -> None:
        """The session is there: give it the events that were held back, in its numbering."""
        self._may_return = bool(ready.resume_window_s) and self._is_signed
        self._uplink.next_sequence = ready.next_sequence
        held, self._held = self._held or (), None
        for message in held:
            if self._handler is None:
                return
            fault = Skip.AFTER_STOP if self._is_stopped else self._take(message, self._handler)
            if fault is not None:
                self._skip(fault)

    def _leave(self, reason: str) -> None:
        """End the stream, not the call: it comes back over another stream, to another worker."""
        handler = self._handler
        self._end()
        self._socket.close(_GOING_AWAY, reason)
        if handler is not None:
            handler.lost(reason)

    def _start(self, started: StreamStarted) -> Skip | None:
        if started.fault is not None:
            self._end()
            self._socket.close(_UNSUPPORTED, started.fault)
            return None
        self._start_timer.cancel()
        self._stream_id = started.stream_id
        self._last_sequence = started.sequence or None
        self._call_id = started.call_id
        self._log = self._log.bind(call=started.call_id)
        if self._vouch is None:
            self._begin(started, Vouched(started.parameters.get(TOKEN_PARAMETER), self._is_signed))
        else:
            self._vouching = self._loop.create_task(self._begin_vouched(started, self._vouch))
        return None

    async def _begin_vouched(self, started: StreamStarted, vouch: Vouch) -> None:
        vouched = await vouch(started.call_id, started.parameters)
        if self._is_closed:
            return
        self._vouching = None
        if vouched is None:
            self._end()
            self._socket.close(_REFUSED, "nothing says that this stream is the call's")
        else:
            self._begin(started, vouched)

    def _begin(self, started: StreamStarted, vouched: Vouched) -> None:
        self._is_proven = vouched.is_key_signed or self._vouch is None
        request = SessionRequest(
            self._path,
            self._peer,
            vouched.access_token,
            key=started.call_id or None,
            is_key_signed=vouched.is_key_signed,
        )
        answer = self._accept(request, self)
        if isinstance(answer, Refusal):
            self._end()
            self._socket.close(_TRY_LATER if answer.status in _UNAVAILABLE else _REFUSED, answer.reason)
        elif not self._is_closed:
            self._handler = answer
            agent = started.parameters.get(AGENT_PARAMETER)
            answer.message_received(Start(accept=(Codec.PCMU,), agent=agent))

    def _hear(self, media: MediaReceived, handler: TransportHandler) -> Skip | None:
        payload = media.payload
        if isinstance(payload, Skip):
            return payload
        for start in range(0, len(payload), MAX_FRAME_BYTES):
            at_ms = media.timestamp_ms + start // BYTES_PER_MS
            frame = self._uplink.frame(at_ms, payload[start : start + MAX_FRAME_BYTES])
            if frame.sequence % _REPORT_EVERY == 0:
                # before the frame: should it interrupt our speech, the session knows how much of it was played
                self._report(self._playback.position(self._loop.time()), handler)
            handler.audio_received(frame)
            if self._handler is None:
                break
        return None

    def _returned(self, name: str, handler: TransportHandler) -> None:
        position = self._playback.returned(name, self._loop.time())
        if position is None:
            self._counters.marks_cleared += 1
        else:
            self._counters.marks_played += 1
            self._report(position, handler)

    def _report(self, position: PlaybackPosition | None, handler: TransportHandler) -> None:
        if position is None or position == self._reported:
            return
        self._reported = position
        handler.message_received(
            Played(
                utterance_id=position.utterance_id, position_ms=position.position_ms, is_complete=position.is_complete
            )
        )

    def _count_missing(self, sequence: int) -> None:
        """Vendors drop messages that a congested connection does not take, and number all of them."""
        if not sequence:
            return
        if self._last_sequence is not None and sequence > self._last_sequence + 1:
            self._counters.missing_messages += sequence - self._last_sequence - 1
        self._last_sequence = max(sequence, self._last_sequence or 0)

    def _mark(self, name: str | None) -> None:
        if name is not None and self._stream_id is not None:
            message = self._vendor.mark(self._stream_id, name)
            if message is not None:
                self._counters.marks_sent += 1
                self._socket.send_text(message)
            else:
                self._loop.call_at(self._plays_until, self._played, name)

    def _played(self, name: str) -> None:
        """By the clock, all audio before the mark was played: for a vendor without marks."""
        if self._handler is not None:
            self._returned(name, self._handler)

    def _may_speak(self, utterance_id: int) -> bool:
        return not (self._is_closed or self._is_stopped or utterance_id in self._over)

    def _skip(self, fault: Skip) -> None:
        self._counters.skipped[fault.value] += 1
        if fault not in self._skipped:
            self._skipped.add(fault)
            _limited_log.warning(
                f"{self._vendor.name}_message_skipped", peer=self._peer, call=self._call_id, fault=fault.value
            )

    def _expect_start(self) -> None:
        if not self._is_closed:
            self._end()
            self._socket.close(_REFUSED, "no start arrived")

    def _end(self) -> None:
        self._is_closed = True
        if self._vouching is not None:
            self._vouching.cancel()
            self._vouching = None
        self._handler = None
        self._start_timer.cancel()


_NORMAL: Final = 1000
_GOING_AWAY: Final = 1001
_UNSUPPORTED: Final = 1003
_REFUSED: Final = 1008
_INTERNAL: Final = 1011
_TRY_LATER: Final = 1013
_UNAVAILABLE: Final = (429, 503)
_CLOSE_CODES: Final = {
    CloseCode.DRAINING: _GOING_AWAY,
    CloseCode.OVERLOADED: _TRY_LATER,
    CloseCode.AGENT_FAILED: _INTERNAL,
    CloseCode.INTERNAL: _INTERNAL,
    CloseCode.UNSUPPORTED_CODEC: _UNSUPPORTED,
    CloseCode.MALFORMED: _REFUSED,
    CloseCode.WRONG_ORDER: _REFUSED,
    CloseCode.UNAUTHORISED: _REFUSED,
}
"""What the closing of a session is called in RFC 6455 section 7.4."""
