"""One telephone call: Twilio's messages as a session's messages and frames, and back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from quiclb.logs.limits import LimitedLog
from voice_gateway.net.token_buckets import Buckets, Rate
from voice_gateway.telephony.counters import TelephonyCounters
from voice_gateway.telephony.playback import Heard, Playout
from voice_gateway.telephony.uplink_clock import BYTES_PER_MS, MAX_FRAME_BYTES, UplinkClock
from voice_gateway.telephony.vendors.twilio.messages import (
    MEDIA_FORMAT,
    Connected,
    Media,
    Skip,
    Start,
    StartFacts,
    Stop,
    TwilioMessage,
    clear,
    mark,
    media,
    parse_message,
    parse_payload,
)
from voice_gateway.telephony.vendors.twilio.messages import Dtmf as DtmfEvent
from voice_gateway.telephony.vendors.twilio.messages import Mark as MarkEvent
from voice_gateway.transport.base import Acceptor, Metered, Refusal, SessionRequest, TransportHandler
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
)
from voicelink.wire import Start as StartSession

START_TIMEOUT_S: Final = 10.0
"""How long a stream may be open without `start`."""
MAX_MESSAGES_BEFORE_START: Final = 8
"""Twilio sends `connected` and then `start`; more messages before it close the stream with 1008."""
MESSAGES_PER_S: Final = 200.0
MESSAGES_AT_ONCE: Final = 2_000.0
"""Messages of any kind, 40 s of audio at once after an outage; more close the stream with 1008."""
TOKEN_PARAMETER: Final = "token"  # noqa: S105 - the name of one
AGENT_PARAMETER: Final = "agent"
_REPORT_EVERY: Final = 5
"""Frames of the caller between two reports of what was played: 100 ms."""
_BYTES_PER_MS: Final = 8
_MOST_HELD: Final = 500
"""Messages of Twilio, 10 s of audio, that wait for the session store to say where the call stands."""
_log = structlog.get_logger("gateway.telephony")
_limited_log = LimitedLog(_log)


@dataclass(frozen=True, slots=True)
class Vouched:
    """What speaks for a stream: the access token that it shows, and whether its call's SID is proven."""

    access_token: str | None = field(repr=False)
    is_key_signed: bool = False


Vouch = Callable[[str, Mapping[str, str]], Awaitable[Vouched | None]]
"""Says what speaks for the stream of a call, by its SID and custom parameters; `None` refuses it. Does not raise."""


class TwilioCall:
    """`voice_gateway.transport.base.Transport` over the WebSocket of one stream, and that socket's handler.

    It asks `accept` when Twilio says `start`, with the call's SID as the key and, unless `vouch` gives another one, the
    custom parameter `token` as the access token, and starts the session in G.711 with the agent of the custom parameter
    `agent`. What Twilio says before
    the session is `Ready`, new or taken up, is held back. When the worker drains the stream ends, so that Twilio asks
    for another one.
    """

    kind = "twilio"
    datagrams = 0
    datagram_uplink = None

    def __init__(
        self,
        socket: WebSocket,
        path: str,
        peer: str,
        accept: Acceptor,
        counters: TelephonyCounters,
        *,
        is_signed: bool = False,
        vouch: Vouch | None = None,
    ) -> None:
        self._socket = socket
        self._path = path
        self._peer = peer
        self._accept = accept
        self._counters = counters
        self._is_signed = is_signed
        self._vouch = vouch
        self._vouching: asyncio.Task[None] | None = None
        self._held: deque[Media | MarkEvent | DtmfEvent | Stop] | None = deque()
        self._may_return = False
        self._loop = asyncio.get_running_loop()
        self._log = _log.bind(peer=peer)
        self._stream_sid: str | None = None
        self._call_sid: str | None = None
        self._handler: TransportHandler | None = None
        self._count: Callable[[int], None] | None = None
        self._uplink = UplinkClock()
        self._playout = Playout()
        self._reported: Heard | None = None
        self._over: set[int] = set()
        self._last_sequence: int | None = None
        self._early_messages = 0
        self._messages = Buckets(Rate(MESSAGES_PER_S, MESSAGES_AT_ONCE), most_keys=1)
        self._skipped: set[Skip] = set()
        self._is_stopped = False
        self._is_closed = False
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

    def send_audio(self, generation: int, frame: AudioFrame) -> None:
        if len(frame.payload) > MAX_AUDIO_BYTES:
            raise ValueError(f"an audio payload holds at most {MAX_AUDIO_BYTES} bytes, got {len(frame.payload)}")
        if frame.codec is not Codec.PCMU:
            raise ValueError(f"a telephone call takes PCMU, got {frame.codec.name}")
        if self._may_speak(generation) and self._stream_sid is not None:
            self._socket.send_text(media(self._stream_sid, frame.payload))
            self._mark(self._playout.sent(generation, len(frame.payload) / _BYTES_PER_MS))

    def end_audio(self, generation: int) -> None:
        if self._may_speak(generation):
            self._over.add(generation)
            self._mark(self._playout.ended(generation))

    def reset_audio(self, generation: int) -> None:
        """Twilio drops all or nothing, so a reset takes what is queued of every generation."""
        self._over.add(generation)
        if not self._is_closed and self._stream_sid is not None and self._playout.has_pending:
            self._playout.cleared()
            self._counters.clears += 1
            self._socket.send_text(clear(self._stream_sid))

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
        if self._count is not None:
            self._count(len(text))
            if self._is_closed:
                return
        message = parse_message(text)
        fault = message if isinstance(message, Skip) else self._receive(message)
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
        if self._stream_sid is None:
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

    def _receive(self, message: TwilioMessage) -> Skip | None:
        if isinstance(message, Connected):
            return None
        if isinstance(message, Start):
            return Skip.SECOND_START if self._stream_sid is not None else self._start(message)
        if self._stream_sid is None or (self._handler is None and self._vouching is None):
            return Skip.BEFORE_START
        if message.stream_sid != self._stream_sid:
            return Skip.WRONG_STREAM
        if self._is_stopped:
            return Skip.AFTER_STOP
        self._count_missing(message.sequence_number)
        if self._held is None and self._handler is not None:
            return self._take(message, self._handler)
        if self._held is None or len(self._held) == _MOST_HELD:
            return Skip.BEFORE_READY
        self._held.append(message)
        return None

    def _take(self, message: Media | MarkEvent | DtmfEvent | Stop, handler: TransportHandler) -> Skip | None:
        match message:
            case Media():
                return self._hear(message, handler)
            case MarkEvent():
                self._returned(message.mark.name, handler)
            case DtmfEvent():
                self._counters.digits += 1
                handler.message_received(Dtmf(digit=message.dtmf.digit))
            case Stop():
                self._is_stopped = True
                handler.message_received(Bye(frames=self._uplink.next_sequence, reason="the call ended"))
        return None

    def _ready(self, ready: Ready) -> None:
        """The session is there: give it, by its numbers, what Twilio has said meanwhile."""
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

    def _start(self, message: Start) -> Skip | None:
        facts = message.start
        if facts.stream_sid != message.stream_sid:
            return Skip.WRONG_STREAM
        form = facts.media_format
        if (form.encoding, form.sample_rate, form.channels) != MEDIA_FORMAT:
            self._end()
            self._socket.close(_UNSUPPORTED, "audio must be mu-law at 8000 Hz on one channel")
            return None
        self._start_timer.cancel()
        self._stream_sid = message.stream_sid
        self._last_sequence = message.sequence_number or None
        self._call_sid = facts.call_sid
        self._log = self._log.bind(call=facts.call_sid)
        if self._vouch is None:
            self._begin(facts, Vouched(facts.custom_parameters.get(TOKEN_PARAMETER), self._is_signed))
        else:
            self._vouching = self._loop.create_task(self._begin_vouched(facts, self._vouch))
        return None

    async def _begin_vouched(self, facts: StartFacts, vouch: Vouch) -> None:
        vouched = await vouch(facts.call_sid, facts.custom_parameters)
        if self._is_closed:
            return
        self._vouching = None
        if vouched is None:
            self._end()
            self._socket.close(_REFUSED, "nothing says that this stream is the call's")
        else:
            self._begin(facts, vouched)

    def _begin(self, facts: StartFacts, vouched: Vouched) -> None:
        request = SessionRequest(
            self._path,
            self._peer,
            vouched.access_token,
            key=facts.call_sid or None,
            is_key_signed=vouched.is_key_signed,
        )
        answer = self._accept(request, self)
        if isinstance(answer, Refusal):
            self._end()
            self._socket.close(_TRY_LATER if answer.status in _UNAVAILABLE else _REFUSED, answer.reason)
        elif not self._is_closed:
            self._handler = answer
            self._count = answer.bytes_received if isinstance(answer, Metered) else None
            agent = facts.custom_parameters.get(AGENT_PARAMETER)
            answer.message_received(StartSession(accept=(Codec.PCMU,), agent=agent))

    def _hear(self, message: Media, handler: TransportHandler) -> Skip | None:
        if message.media.track != "inbound":
            return Skip.OTHER_TRACK
        payload = parse_payload(message.media.payload)
        if isinstance(payload, Skip):
            return payload
        for start in range(0, len(payload), MAX_FRAME_BYTES):
            at_ms = message.media.timestamp + start // BYTES_PER_MS
            frame = self._uplink.frame(at_ms, payload[start : start + MAX_FRAME_BYTES])
            if frame.sequence % _REPORT_EVERY == 0:
                # before the frame: should it interrupt our speech, the session knows how much of that was heard
                self._report(self._playout.heard(self._loop.time()), handler)
            handler.audio_received(frame)
            if self._handler is None:
                break
        return None

    def _returned(self, name: str, handler: TransportHandler) -> None:
        heard = self._playout.returned(name, self._loop.time())
        if heard is None:
            self._counters.marks_cleared += 1
        else:
            self._counters.marks_played += 1
            self._report(heard, handler)

    def _report(self, heard: Heard | None, handler: TransportHandler) -> None:
        if heard is None or heard == self._reported:
            return
        self._reported = heard
        handler.message_received(
            Played(utterance_id=heard.generation, position_ms=heard.position_ms, is_complete=heard.is_complete)
        )

    def _count_missing(self, sequence: int) -> None:
        """Twilio drops messages that a congested connection does not take, and numbers all of them."""
        if not sequence:
            return
        if self._last_sequence is not None and sequence > self._last_sequence + 1:
            self._counters.missing_messages += sequence - self._last_sequence - 1
        self._last_sequence = max(sequence, self._last_sequence or 0)

    def _mark(self, name: str | None) -> None:
        if name is not None and self._stream_sid is not None:
            self._counters.marks_sent += 1
            self._socket.send_text(mark(self._stream_sid, name))

    def _may_speak(self, generation: int) -> bool:
        return not (self._is_closed or self._is_stopped or generation in self._over)

    def _skip(self, fault: Skip) -> None:
        self._counters.skipped[fault.value] += 1
        if fault not in self._skipped:
            self._skipped.add(fault)
            _limited_log.warning("twilio_message_skipped", peer=self._peer, call=self._call_sid, fault=fault.value)

    def _expect_start(self) -> None:
        if not self._is_closed:
            self._end()
            self._socket.close(_REFUSED, "no start arrived")

    def _end(self) -> None:
        self._is_closed = True
        if self._vouching is not None:
            self._vouching.cancel()
            self._vouching = None
        self._handler = self._count = None
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
