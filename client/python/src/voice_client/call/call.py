"""The caller's side of the voice protocol, over one connection after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from voice_client.audio.loudness import is_voiced
from voice_client.audio.media_clock import MediaClock
from voice_client.audio.playback import Playback, Position
from voice_client.audio.player import InstantPlayer, Player, Sink
from voice_client.audio.source import RATE_HZ
from voice_client.call.call_settings import CallSettings
from voice_client.call.conversation import Conversation
from voice_client.call.heartbeat import Heartbeat
from voice_client.call.messages import Messages
from voice_client.call.recovery import Dial, Recovery
from voice_client.call.tools import ToolAnswer
from voice_client.call.turns import Turns
from voice_client.errors import (
    CallLost,
    ClientError,
    MessageError,
    ProtocolFault,
    ServerDrained,
    SessionFailed,
    session_ended,
)
from voice_client.events import (
    Acked,
    AppMessage,
    Closed,
    Draining,
    Event,
    Flushed,
    SinkFailed,
    Speech,
    SpeechEnded,
    ToolCalled,
    Transferred,
    TurnMeasured,
)
from voice_client.state_log import log_change
from voice_client.transport.link import PLAYBACK_RATE_HZ, Link
from voice_client.uplink.sender import UplinkCounters
from voice_client.uplink.uplink import Uplink
from voicelink.audio.codec import FrameEncoder
from voicelink.audio.frames import FRAME_TICKS
from voicelink.wire import (
    CLOCK_HZ,
    App,
    AudioFrame,
    Bye,
    ClientMessage,
    CloseCode,
    Drain,
    Dtmf,
    Error,
    Flush,
    Heard,
    Latency,
    Malformed,
    Measured,
    NumberedClientMessage,
    NumberedServerMessage,
    Ping,
    Played,
    Pong,
    Ready,
    Received,
    Resume,
    ServerMessage,
    Start,
    Text,
    ToolCall,
    ToolCancel,
    ToolResult,
    Transfer,
)
from voicelink.wire import Speech as SpeechMessage

_log = logging.getLogger(__name__)

_DIGITS = "0123456789ABCD*#"
_MAX_BUFFERED_S = 600
_MAX_CLOCK_LAG_S = 0.2


class Call:
    """A `LinkHandler`: turns messages into events and back. Nothing here waits: `ready` and `closed` are futures."""

    def __init__(
        self, settings: CallSettings, emit: Callable[[Event], None], dial: Dial, rng: Callable[[int], bytes]
    ) -> None:
        self._settings = settings
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._is_live = False
        self._token: str | None = None
        self._encoder = FrameEncoder(settings.codec, RATE_HZ)
        self._media_clock = MediaClock()
        self._has_said_bye = False
        self._voiced_at: float | None = None
        self._latest_audio = 0
        self._speaking: set[int] = set()
        self._heartbeat = Heartbeat(lambda identifier: self._send(Ping(id=identifier)), settings.heartbeat_s)
        self.playback = Playback(PLAYBACK_RATE_HZ)
        self.sink_errors: list[Exception] = []
        self._player: Player | InstantPlayer = (
            Player(self.playback, self._report, self._audible, settings.sinks, self._sink_failed)
            if settings.has_playback
            else InstantPlayer(self.playback, self._report, self._audible)
        )
        self.uplink = Uplink(settings.codec)
        self.messages = Messages()
        self._is_transferred = False
        self.uplink_counters = UplinkCounters()
        self.uplink_mode: str | None = None
        self.conversation = Conversation()
        self.turns = Turns()
        self._frames_sent = 0
        self.reply_latencies_ms: list[float] = []
        self.recovery = Recovery(self, emit, dial, rng, settings.resume_timeout_s)
        self.began_at: float | None = None
        self.ended_at: float | None = None
        self.error: ClientError | None = None
        self.is_finished = False
        """Whether the server said bye with every frame acked."""
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.closed: asyncio.Future[None] = self._loop.create_future()

    @property
    def link(self) -> Link | None:
        """The connection that carries the call now; `None` while it is between two."""
        return self._link if self._is_live else None

    @property
    def is_agent_speaking(self) -> bool:
        """Whether an answer was announced that has not been played to its end or flushed."""
        return bool(self._speaking)

    @property
    def latest_rtt_ms(self) -> float | None:
        """The heartbeat's newest round trip."""
        return self._heartbeat.rtts_ms[-1] if self._heartbeat.rtts_ms else None

    @property
    def rtts_ms(self) -> tuple[float, ...]:
        """The heartbeat's round trips."""
        return tuple(self._heartbeat.rtts_ms)

    # What the caller does

    def send_pcm(self, pcm: bytes, *, is_continued: bool = False) -> None:
        """Encode and send speech, or keep it for when the call goes on; raises the call's error once it is over.

        If `is_continued`, it follows without a pause on what was sent last, however late it comes.
        """
        self.raise_if_over()
        if self._has_said_bye:
            raise CallLost("no audio can follow after the call was finished")
        if not is_continued:
            self._follow_clock()
        if is_voiced(pcm):
            self._voiced_at = self._loop.time()
        self._send_frames(self._encoder.push(pcm))

    def send_text(self, text: str) -> None:
        """Type a text; raises `MessageError`, and the call's error once it is over."""
        self._send_numbered(Text(number=0, text=text))

    def send_message(self, data: Mapping[str, Any]) -> None:
        """Send a message to the agent; raises as `send_text`."""
        self._send_numbered(App(number=0, data=dict(data)))

    def send_digit(self, digit: str) -> None:
        """Press a key of the telephone; lost while the call is between two connections."""
        self.raise_if_over()
        if len(digit) != 1 or digit not in _DIGITS:
            raise MessageError(f"a key of a telephone is one of {_DIGITS}, got {digit!r}")
        self._send(Dtmf(digit=digit))

    def say_bye(self) -> None:
        """Send what is left, and that no more follows; the server's bye resolves `closed`."""
        self.raise_if_over()
        if not self._has_said_bye:
            self._send_frames(self._encoder.flush())
            self._has_said_bye = True
            log_change(_log, "call_finishing", frames=self.uplink.sent)
            self._send(Bye(frames=self.uplink.sent))

    def ping(self) -> asyncio.Future[float]:
        """Measure a round trip, in ms."""
        self.raise_if_over()
        return self._heartbeat.measure()

    def hang_up(self) -> None:
        """End the call now; frames and answers under way are dropped."""
        self.end(CallLost("the call was ended before it was finished"), CloseCode.NORMAL, "the caller hung up")

    def raise_if_over(self) -> None:
        """Raise why nothing can be said any more, if that is so."""
        if self.error is not None:
            raise self.error
        if self.closed.done() or self.began_at is None:
            raise CallLost("the call is over")

    # LinkHandler

    def link_opened(self, link: Link) -> ClientMessage | None:
        """Say `start`, or `resume` in place of the link before, whose position is final from now on."""
        former, self._link = self._link, link
        if self._token is None:
            log_change(_log, "call_starting", agent=self._settings.agent or "default", uplink=self._settings.uplink)
            return Start(
                accept=self._settings.accept,
                agent=self._settings.agent,
                uplink=self._settings.uplink,
                next_message=self.messages.next_expected,
            )
        if self.closed.done():
            return None
        self.recovery.interrupted(former, "the call moves to another connection")
        if former is not None:
            self._loop.call_soon(former.leave)
        self._is_live = False
        for position in self.playback.take_positions():
            self._report(position, None)
        next_utterance_id, position_ms = self.playback.hold()
        log_change(_log, "call_resuming", session=self.conversation.session, acked=self.uplink.acked)
        return Resume(
            session=self.conversation.session or "",
            token=self._token,
            accept=self._settings.accept,
            utterance_id=self.playback.newest,
            next_utterance_id=next_utterance_id,
            position_ms=position_ms,
            turn=self.conversation.newest_turn,
            uplink=self._settings.uplink,
            next_message=self.messages.next_expected,
        )

    def message_received(self, link: Link, message: ServerMessage) -> None:
        """Take what the server says, unless over a link that the call has left."""
        if link is not self._link or self.closed.done():
            return
        match message:
            case Ready():
                self._ready(link, message)
            case Pong():
                if not self._heartbeat.pong(message.id):
                    self.fault_found(link, Malformed(f"pong {message.id} answers no ping"))
                elif self.latest_rtt_ms is not None:
                    self.turns.round_trip(self.latest_rtt_ms, self._loop.time())
            case Heard():
                if self.uplink.acknowledge(message.sequence):
                    self._emit(Acked(message.sequence))
                else:
                    reason = f"heard {message.sequence}, but only {self.uplink.sent} frames were sent"
                    self.fault_found(link, Malformed(reason))
            case SpeechMessage():
                self._speaking.add(message.utterance_id)
                self.turns.announced(message.utterance_id, message.turn)
                self.playback.replace_held(message.utterance_id, is_again=message.is_again)
                self.playback.begin(message.utterance_id)
                self._emit(Speech(message.utterance_id, message.turn))
                self._player.wake()
            case Flush():
                self._flush(message)
            case Latency():
                self._measured(self.turns.latency_received(message))
            case Drain():
                log_change(_log, "call_draining", worker=self.conversation.worker, deadline_s=message.deadline_s)
                self._emit(Draining(message.deadline_s))
                self.link_draining(link)
            case Error():
                link.is_lost = True
                self._loop.call_soon(link.leave)
                self.link_lost(link, session_ended(message.code, message.message))
            case Bye():
                self._server_said_bye(message)
            case Received():
                if not self.messages.acknowledge(message.number):
                    self.fault_found(link, Malformed(f"received {message.number}, which was not sent"))
            case App() | ToolCall() | ToolCancel() | Transfer():
                if self.messages.received(message):
                    self._take(message)
                self._send(Received(number=message.number))
            case _:
                event = self.conversation.apply(message)
                if event is not None:
                    self._emit(event)

    def link_draining(self, link: Link) -> None:
        """Look for another connection: this one is asked to end soon."""
        if link is self._link and self.can_resume and not self.closed.done():
            self.recovery.redial()

    def speech_received(self, link: Link, utterance_id: int, pcm: bytes) -> None:
        """Buffer speech until it is played."""
        if link is not self._link:
            return
        if utterance_id > self._latest_audio:
            self._latest_audio = utterance_id
            self.turns.arrived(utterance_id, self._loop.time())
            if self._voiced_at is not None:
                self.reply_latencies_ms.append((self._loop.time() - self._voiced_at) * 1000)
                self._voiced_at = None
        self.playback.push(utterance_id, pcm)
        self._player.wake()
        if self.playback.buffered_samples > _MAX_BUFFERED_S * PLAYBACK_RATE_HZ:
            self.fault_found(link, Malformed(f"more than {_MAX_BUFFERED_S} s of speech are waiting to be played"))

    def speech_ended(self, link: Link, utterance_id: int) -> None:
        """Know the end of an answer."""
        if link is self._link:
            self.playback.end(utterance_id)
            self._player.wake()

    def fault_found(self, link: Link, fault: Malformed) -> None:
        """End the call: it cannot be trusted any more."""
        if link is self._link:
            reason = f"the server broke the voice protocol: {fault.reason}"
            self.end(ProtocolFault(reason), fault.code, fault.reason)

    def link_lost(self, link: Link, error: ClientError | None) -> None:
        """Take the session up over another connection, where the server may still have it."""
        if link is not self._link or self.closed.done():
            return
        is_answered = isinstance(error, SessionFailed)
        is_transient = isinstance(error, ServerDrained) or (
            isinstance(error, SessionFailed) and not self._is_live and self.recovery.may_retry(error.code)
        )
        if error is not None and (is_transient or not is_answered) and self.can_resume:
            self.recovery.interrupted(link, str(error), error)
            self._is_live = False
            self.recovery.redial()
        elif is_answered and self._has_said_bye and self.uplink.acked == self.uplink.sent and not self._is_live:
            self.is_finished = True  # the server's bye was lost with the connection
            self.end(None)
        else:
            self.end(error or CallLost("the server closed the session before the call was finished"))

    # Between two connections

    @property
    def can_resume(self) -> bool:
        """Whether the server keeps the session for another connection."""
        return self._token is not None and self._settings.resume_timeout_s > 0 and not self.closed.done()

    def _ready(self, link: Link, ready: Ready) -> None:
        event = self.conversation.apply(ready)
        self._token = ready.token
        if self.began_at is None:
            self.began_at = self._loop.time()
            self._is_live = True
            log_change(_log, "call_ready", session=ready.session, worker=ready.worker, uplink=ready.uplink)
            self._begin_uplink(link, ready, ())
            self.recovery.watch()
            self.ready.set_result(None)
            if event is not None:
                self._emit(event)
        elif not self._is_live:
            frames = self.uplink.again(ready.next_sequence)
            if frames is None:
                self.fault_found(link, Malformed(f"the session goes on at frame {ready.next_sequence}, which is gone"))
                return
            self._is_live = True
            self._speaking.clear()
            self._begin_uplink(link, ready, frames)
            link.settled.set()
            gap_ms = self.recovery.resumed(ready.worker, has_reconnected=True)
            replayed = max(0, self._frames_sent - ready.next_sequence)
            self._frames_sent = self.uplink.sent
            self._measured(self.turns.resumed(self.conversation.newest_turn, gap_ms, replayed))
        self._repeat_messages(link, ready)
        self._heartbeat.start()
        if self._has_said_bye:
            self._send(Bye(frames=self.uplink.sent))

    def _take(self, message: NumberedServerMessage) -> None:
        match message:
            case App(data=data):
                self._emit(AppMessage(data))
            case ToolCall(call_id=call_id, name=name):
                if self._settings.tools.call(message, self._answer):
                    self._emit(ToolCalled(call_id, name))
            case ToolCancel(call_id=call_id):
                self._settings.tools.cancel(call_id)
            case Transfer(target=target):
                self._is_transferred = True
                self._emit(Transferred(target))

    def _answer(self, call_id: str, answer: ToolAnswer) -> None:
        if not self.closed.done():
            self._send_numbered(ToolResult(number=0, call_id=call_id, result=answer.result, error=answer.error))

    def _send_numbered(self, message: NumberedClientMessage) -> None:
        self.raise_if_over()
        message = self.messages.add(message)
        if self.messages.is_supported:
            self._send(message)

    def _repeat_messages(self, link: Link, ready: Ready) -> None:
        """Send what the server has not had, now that it is ready."""
        messages = self.messages.attached(ready.next_message)
        if messages is None:
            self.fault_found(
                link, Malformed(f"the session goes on at message {ready.next_message}, which was not sent")
            )
            return
        for message in messages:
            self._send(message)

    def _begin_uplink(self, link: Link, ready: Ready, again: Sequence[AudioFrame]) -> None:
        self.uplink_mode = ready.uplink
        link.begin_uplink(ready, again, self._settings.uplink_limit_s, self.uplink_counters)

    # The rest

    def _server_said_bye(self, message: Bye) -> None:
        self.is_finished = self._has_said_bye and self.uplink.acked == self.uplink.sent == message.frames
        if self.is_finished or (self._is_transferred and not self._has_said_bye):
            self.end(None, CloseCode.NORMAL)
        elif self._has_said_bye:
            unacked = self.uplink.sent - self.uplink.acked
            self.end(ProtocolFault(f"the server said bye although {unacked} of {self.uplink.sent} frames were unacked"))
        else:
            self.end(session_ended(CloseCode.NORMAL, message.reason))

    def _flush(self, flush: Flush) -> None:
        for position in self.playback.flush(flush.utterance_id):
            self._send(self._played(position, self._player.reached_at(position)))
            self._emit(Flushed(position.utterance_id, position.position_ms))
        self._speaking = {each for each in self._speaking if each > flush.utterance_id}
        silent_at = self._player.flush()
        self._measured(self.turns.flushed(flush.utterance_id, flush.sequence, silent_at))

    def _audible(self, utterance_id: int, at: float) -> None:
        self._measured(self.turns.audible(utterance_id, at))

    def _sink_failed(self, sink: Sink, error: Exception) -> None:
        self.sink_errors.append(error)
        self._emit(SinkFailed(sink, error))

    def _measured(self, measured: Measured | None) -> None:
        """Report what this side has measured to the server and the caller."""
        if measured is not None:
            self._send(measured)
            self._emit(TurnMeasured(self.turns.of(measured.turn)))

    def _played(self, position: Position, at: float | None) -> Played:
        return Played(
            utterance_id=position.utterance_id,
            position_ms=position.position_ms,
            is_complete=position.is_complete,
            timestamp=None if at is None else self._media_clock.timestamp(at),
        )

    def _report(self, position: Position, at: float | None) -> None:
        self._send(self._played(position, at))
        if position.is_complete:
            self._speaking.discard(position.utterance_id)
            self._emit(SpeechEnded(position.utterance_id, position.position_ms))

    def _send(self, message: ClientMessage) -> None:
        if self._link is not None and self._is_live and not self.closed.done():
            self._link.send(message)

    def _send_frames(self, frames: Sequence[tuple[int, bytes]]) -> None:
        now = self._loop.time()
        for timestamp, payload in frames:
            self.turns.captured(self.uplink.sent, now)
            self._media_clock.captured(timestamp + FRAME_TICKS, now)
            frame = self.uplink.append(timestamp, payload)
            if self._link is not None and self._is_live:
                self._link.send_frame(frame)
                self._frames_sent = self.uplink.sent

    def _follow_clock(self) -> None:
        """A pause in which nothing was sent is a gap in the timestamps too."""
        if self.began_at is None:
            return
        elapsed_ticks = round((self._loop.time() - self.began_at) * CLOCK_HZ)
        if elapsed_ticks - self._encoder.timestamp > _MAX_CLOCK_LAG_S * CLOCK_HZ:
            self._encoder.timestamp = elapsed_ticks
            self._media_clock.reset()

    def end(self, error: ClientError | None, code: CloseCode = CloseCode.NORMAL, reason: str = "") -> None:
        """The call is over, with this error or as it should."""
        if self.closed.done():
            return
        self.error = error
        self.ended_at = self._loop.time()
        log_change(
            _log,
            "call_ended",
            session=self.conversation.session,
            error="none" if error is None else type(error).__name__,
            frames=self.uplink.sent,
            acked=self.uplink.acked,
        )
        self._heartbeat.stop()
        self._settings.tools.close()
        self._player.close()
        self.recovery.stop()
        self.closed.set_result(None)
        if not self.ready.done():
            self.ready.set_result(None)
        self._emit(Closed(error))
        if self._link is not None:
            # not from within the connection's own event loop turn
            self._loop.call_soon(self._link.close, code, reason)
