"""A caller in memory: what a session sends is at once in its lists, what it sends is at once with the session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from voice_gateway.transport.base import Acceptor, Refusal, SessionRequest, TransportHandler
from voice_gateway.transport.stream_readers import ControlReader
from voicelink.wire import (
    AudioFrame,
    ClientMessage,
    CloseCode,
    Malformed,
    ServerMessage,
    decode_audio_frame,
    decode_server_message,
    encode_audio_frame,
    encode_message,
    length_prefixed,
)


@dataclass(slots=True)
class Downlink:
    """What arrived of one utterance."""

    frames: list[AudioFrame] = field(default_factory=list)
    is_ended: bool = False
    is_reset: bool = False


class MemoryCaller:
    """The client's end of a transport in memory; making one asks the acceptor.

    `refusal` says why there is no session, else read `messages` and `utterances`, and `closed` once the session ended.
    Bytes go through the wire's encoders and decoders, so that what cannot be sent fails here as well.
    """

    def __init__(self, accept: Acceptor, request: SessionRequest) -> None:
        self.messages: list[ServerMessage] = []
        self.utterances: dict[int, Downlink] = {}
        self.closed: tuple[CloseCode, str] | None = None
        self.refusal: Refusal | None = None
        self._control = ControlReader()
        self._handler: TransportHandler | None = None
        self._transport = MemoryTransport(self)
        answer = accept(request, self._transport)
        if isinstance(answer, Refusal):
            self.refusal = answer
            self._transport.end()
        elif self.closed is None:
            self._handler = answer

    @property
    def is_connected(self) -> bool:
        """Whether the session still listens."""
        return self._handler is not None

    def send(self, message: ClientMessage) -> None:
        self.send_raw_control(length_prefixed(encode_message(message)))

    def send_raw_control(self, data: bytes) -> None:
        """Send bytes on the control stream, sound or not."""
        if self._handler is None:
            return
        messages, fault = self._control.feed(data, is_ended=False)
        for message in messages:
            if self._handler is not None:
                self._handler.message_received(message)
        if fault is not None:
            self._fault(fault)

    def send_audio(self, frame: AudioFrame) -> None:
        decoded = decode_audio_frame(encode_audio_frame(frame))
        if isinstance(decoded, Malformed):
            self._fault(decoded)
        elif self._handler is not None:
            self._handler.audio_received(decoded)

    def move(self, peer: str) -> None:
        """Go on from another address."""
        if self._handler is not None:
            self._handler.path_changed(peer)

    def hang_up(self, reason: str) -> None:
        """Lose the connection."""
        self._transport.end()
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.lost(reason)

    def leave(self, reason: str) -> None:
        """Close the transport without a `bye`."""
        self._transport.end()
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.left(reason)

    def ended(self, code: CloseCode, reason: str) -> None:
        self.closed = (code, reason)
        self._handler = None

    def _fault(self, fault: Malformed) -> None:
        if self._handler is not None:
            self._handler.malformed_received(fault)


class MemoryTransport:
    """`voice_gateway.transport.base.Transport` to a `MemoryCaller`."""

    kind = "memory"
    datagrams = 0
    datagram_uplink = None
    connection_id = None

    def __init__(self, caller: MemoryCaller) -> None:
        self._caller = caller
        self._is_over = False

    def send(self, message: ServerMessage) -> None:
        if self._is_over:
            return
        decoded = decode_server_message(encode_message(message))
        if isinstance(decoded, Malformed) or decoded is None:
            raise ValueError(f"the message cannot be read back: {decoded}")
        self._caller.messages.append(decoded)

    def send_audio(self, utterance_id: int, frames: Sequence[AudioFrame]) -> None:
        for frame in frames:
            encode_audio_frame(frame)
        downlink = self._downlink(utterance_id)
        if downlink is not None:
            downlink.frames += frames

    def end_audio(self, utterance_id: int) -> None:
        downlink = self._downlink(utterance_id)
        if downlink is not None:
            downlink.is_ended = True

    def reset_audio(self, utterance_id: int) -> None:
        downlink = self._downlink(utterance_id)
        if downlink is not None:
            downlink.is_reset = True

    def close(self, code: CloseCode, reason: str) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._caller.ended(code, reason)

    def end(self) -> None:
        """The caller is gone: every call is a no-op from now on."""
        self._is_over = True

    def _downlink(self, utterance_id: int) -> Downlink | None:
        if self._is_over:
            return None
        downlink = self._caller.utterances.setdefault(utterance_id, Downlink())
        return None if downlink.is_ended or downlink.is_reset else downlink
