"""The caller's side of the voice protocol over one WebTransport session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from client.connection import WebTransportConnection
from client.conversation import Conversation
from client.downlink import DownlinkStream
from client.errors import CallLost, ClientError, ProtocolFault, session_ended
from client.events import Closed, Draining, Event, Flushed, Heard, Speech, SpeechEnded
from client.heartbeat import Heartbeat
from client.playback import Playback, Position
from client.player import InstantPlayer, Player, Sink
from client.source import RATE_HZ
from client.uplink import Uplink
from gateway.audio.codec import FrameDecoder, FrameEncoder
from gateway.wire import (
    CLOCK_HZ,
    MAX_CONTROL_OCTETS,
    AudioFrame,
    Bye,
    ClientMessage,
    CloseCode,
    Codec,
    Drain,
    Error,
    Flush,
    LengthPrefixedReader,
    Malformed,
    Ping,
    Played,
    Pong,
    Ready,
    ServerMessage,
    Start,
    StreamType,
    decode_server_message,
    encode_message,
    encode_varint,
    length_prefixed,
)
from gateway.wire import Heard as HeardMessage
from gateway.wire import Speech as SpeechMessage

PLAYBACK_RATE_HZ = 24_000

_MAX_BUFFERED_S = 600
_MAX_CLOCK_LAG_S = 0.2
_VOICED_AMPLITUDE = 32768 * 10 ** (-45 / 20)


@dataclass(frozen=True, slots=True)
class CallSettings:
    """How to speak and listen; `accept` is what the server may answer in, most wanted first."""

    codec: Codec
    accept: tuple[Codec, ...]
    agent: str | None = None
    has_playback: bool = True
    sinks: Sequence[Sink] = ()
    heartbeat_s: float = 0.5


@dataclass(slots=True)
class _Incoming:
    stream: DownlinkStream = field(default_factory=DownlinkStream)
    decoder: FrameDecoder = field(default_factory=lambda: FrameDecoder(PLAYBACK_RATE_HZ))


class Call:
    """Turns octets into events and back; a `SessionHandler`. Nothing here waits: `ready` and `closed` are futures."""

    def __init__(self, settings: CallSettings, emit: Callable[[Event], None]) -> None:
        self._settings = settings
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._connection: WebTransportConnection | None = None
        self._control_id = self._uplink_id = -1
        self._control = LengthPrefixedReader(MAX_CONTROL_OCTETS)
        self._incoming: dict[int, _Incoming] = {}
        self._encoder = FrameEncoder(settings.codec, RATE_HZ)
        self._has_said_bye = False
        self._voiced_at: float | None = None
        self._latest_audio = 0
        self._speaking: set[int] = set()
        self._heartbeat = Heartbeat(lambda identifier: self._send(Ping(id=identifier)), settings.heartbeat_s)
        self.playback = Playback(PLAYBACK_RATE_HZ)
        self._player: Player | InstantPlayer = (
            Player(self.playback, self._report, settings.sinks)
            if settings.has_playback
            else InstantPlayer(self.playback, self._report)
        )
        self.uplink = Uplink(settings.codec)
        self.conversation = Conversation()
        self.reply_latencies_ms: list[float] = []
        self.began_at: float | None = None
        self.ended_at: float | None = None
        self.error: ClientError | None = None
        self.is_finished = False
        """Whether the server said bye with every frame heard."""
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.closed: asyncio.Future[None] = self._loop.create_future()

    @property
    def is_agent_speaking(self) -> bool:
        """Whether an answer was announced that has not been played to its end or flushed."""
        return bool(self._speaking)

    @property
    def rtts_ms(self) -> tuple[float, ...]:
        """The heartbeat's round trips."""
        return tuple(self._heartbeat.rtts_ms)

    # What the caller does

    def send_pcm(self, pcm: bytes) -> None:
        """Encode and send speech; raises the call's error once it is over."""
        connection = self._open_connection()
        if self._has_said_bye:
            raise CallLost("no audio can follow after the call was finished")
        self._follow_clock()
        if is_voiced(pcm):
            self._voiced_at = self._loop.time()
        for timestamp, payload in self._encoder.push(pcm):
            connection.send(self._uplink_id, self.uplink.append(timestamp, payload))

    def say_bye(self) -> None:
        """Send what is left, and that no more follows; the server's bye resolves `closed`."""
        connection = self._open_connection()
        if not self._has_said_bye:
            for timestamp, payload in self._encoder.flush():
                connection.send(self._uplink_id, self.uplink.append(timestamp, payload))
            self._has_said_bye = True
            self._send(Bye(frames=self.uplink.sent))

    def ping(self) -> asyncio.Future[float]:
        """Measure a round trip, in ms."""
        self._open_connection()
        return self._heartbeat.measure()

    def hang_up(self) -> None:
        """End the call now, whatever is outstanding."""
        self._end(CallLost("the call was ended before it was finished"), CloseCode.NORMAL, "the caller hung up")

    def raise_if_over(self) -> None:
        """Raise why nothing can be said any more, if that is so."""
        self._open_connection()

    # SessionHandler

    def session_requested(self, connection: WebTransportConnection) -> None:
        self._connection = connection
        self._control_id = connection.open_stream(is_unidirectional=False)
        self._uplink_id = connection.open_stream(is_unidirectional=True)
        self._send(Start(accept=self._settings.accept, agent=self._settings.agent))
        connection.send(self._uplink_id, encode_varint(StreamType.UPLINK_AUDIO))

    def stream_received(self, stream_id: int, data: bytes, is_ended: bool) -> None:
        if self.closed.done():
            return
        if stream_id == self._control_id:
            self._control_received(data)
        else:
            self._downlink_received(stream_id, data, is_ended)

    def stream_reset(self, stream_id: int) -> None:
        incoming = self._incoming.pop(stream_id, None)
        if incoming is not None and incoming.stream.generation is not None:
            self.playback.end(incoming.stream.generation)
            self._player.wake()

    def session_closed(self, error: ClientError | None) -> None:
        self._end(error or CallLost("the server closed the session before the call was finished"))

    # From the server

    def _control_received(self, data: bytes) -> None:
        bodies = self._control.feed(data)
        if isinstance(bodies, Malformed):
            self._fault(bodies)
            return
        for body in bodies:
            message = decode_server_message(body)
            if isinstance(message, Malformed):
                self._fault(message)
            elif message is not None and not self.closed.done():
                self._message_received(message)

    def _message_received(self, message: ServerMessage) -> None:
        match message:
            case Pong():
                if not self._heartbeat.pong(message.id):
                    self._fault(Malformed(f"pong {message.id} answers no ping"))
            case HeardMessage():
                if self.uplink.acknowledge(message.sequence):
                    self._emit(Heard(message.sequence))
                else:
                    self._fault(Malformed(f"heard {message.sequence}, but only {self.uplink.sent} frames were sent"))
            case SpeechMessage():
                self._speaking.add(message.generation)
                self.playback.begin(message.generation)
                self._emit(Speech(message.generation, message.turn))
                self._player.wake()
            case Flush():
                self._flush(message.generation)
            case Drain():
                self._emit(Draining(message.deadline_s))
            case Error():
                self._end(session_ended(message.code, message.message))
            case Bye():
                self._server_said_bye(message)
            case _:
                event = self.conversation.apply(message)
                if isinstance(message, Ready) and not self.ready.done():
                    self.began_at = self._loop.time()
                    self._heartbeat.start()
                    self.ready.set_result(None)
                if event is not None:
                    self._emit(event)

    def _server_said_bye(self, message: Bye) -> None:
        self.is_finished = self._has_said_bye and self.uplink.heard == self.uplink.sent == message.frames
        if self.is_finished:
            self._end(None, CloseCode.NORMAL)
        elif self._has_said_bye:
            unheard = self.uplink.sent - self.uplink.heard
            self._end(
                ProtocolFault(f"the server said bye although {unheard} of {self.uplink.sent} frames were not heard")
            )
        else:
            self._end(session_ended(CloseCode.NORMAL, message.reason))

    def _downlink_received(self, stream_id: int, data: bytes, is_ended: bool) -> None:
        incoming = self._incoming.get(stream_id)
        if incoming is None:
            incoming = self._incoming[stream_id] = _Incoming()
        frames = incoming.stream.feed(data)
        if isinstance(frames, Malformed):
            self._fault(frames)
            return
        generation = incoming.stream.generation
        if generation is not None:
            for frame in frames:
                self._frame_received(generation, frame, incoming.decoder)
            if is_ended:
                self.playback.end(generation)
            self._player.wake()
        if is_ended:
            self._incoming.pop(stream_id, None)

    def _frame_received(self, generation: int, frame: AudioFrame, decoder: FrameDecoder) -> None:
        pcm = decoder.decode(frame)
        if isinstance(pcm, Malformed):
            self._fault(pcm)
            return
        if generation > self._latest_audio:
            self._latest_audio = generation
            if self._voiced_at is not None:
                self.reply_latencies_ms.append((self._loop.time() - self._voiced_at) * 1000)
                self._voiced_at = None
        self.playback.push(generation, pcm)
        if self.playback.buffered_samples > _MAX_BUFFERED_S * PLAYBACK_RATE_HZ:
            self._fault(Malformed(f"more than {_MAX_BUFFERED_S} s of speech are waiting to be played"))

    def _flush(self, generation: int) -> None:
        for position in self.playback.flush(generation):
            self._send(Played(generation=position.generation, position_ms=position.position_ms))
            self._emit(Flushed(position.generation, position.position_ms))
        self._speaking = {each for each in self._speaking if each > generation}
        self._player.flush()

    def _report(self, position: Position) -> None:
        self._send(
            Played(generation=position.generation, position_ms=position.position_ms, is_complete=position.is_complete)
        )
        if position.is_complete:
            self._speaking.discard(position.generation)
            self._emit(SpeechEnded(position.generation, position.position_ms))

    # The rest

    def _send(self, message: ClientMessage) -> None:
        if self._connection is not None and not self.closed.done():
            self._connection.send(self._control_id, length_prefixed(encode_message(message)))

    def _follow_clock(self) -> None:
        """A pause in which nothing was sent is a gap in the timestamps too."""
        if self.began_at is None:
            return
        elapsed_ticks = round((self._loop.time() - self.began_at) * CLOCK_HZ)
        if elapsed_ticks - self._encoder.timestamp > _MAX_CLOCK_LAG_S * CLOCK_HZ:
            self._encoder.timestamp = elapsed_ticks

    def _open_connection(self) -> WebTransportConnection:
        if self.error is not None:
            raise self.error
        if self._connection is None or self.closed.done():
            raise CallLost("the call is over")
        return self._connection

    def _fault(self, fault: Malformed) -> None:
        self._end(ProtocolFault(f"the server broke the voice protocol: {fault.reason}"), fault.code, fault.reason)

    def _end(self, error: ClientError | None, code: CloseCode = CloseCode.NORMAL, reason: str = "") -> None:
        if self.closed.done():
            return
        self.error = error
        self.ended_at = self._loop.time()
        self._heartbeat.stop()
        self._player.close()
        self.closed.set_result(None)
        if not self.ready.done():
            self.ready.set_result(None)
        self._emit(Closed(error))
        if self._connection is not None:
            # not from within the connection's own event loop turn
            self._loop.call_soon(self._connection.close, code, reason)


def is_voiced(pcm: bytes) -> bool:
    """Whether PCM16 is louder than -45 dBFS."""
    if len(pcm) < 2:
        return False
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float32)
    return bool(np.sqrt(np.mean(samples * samples)) > _VOICED_AMPLITUDE)
