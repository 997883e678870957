"""Reads what a client sends on its streams, sans-IO: control messages, and audio behind a stream type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.wire import (
    MAX_AUDIO_OCTETS,
    MAX_CONTROL_OCTETS,
    AudioFrame,
    ClientMessage,
    LengthPrefixedReader,
    Malformed,
    StreamType,
    decode_audio_frame,
    decode_client_message,
    decode_varint,
)

MAX_FRAME_OCTETS: Final = MAX_AUDIO_OCTETS + 17
"""A payload behind its codec and two varints."""


@dataclass(frozen=True, slots=True)
class UnknownStream:
    """A stream of a type that this version does not know: ask the peer to stop it, and go on."""

    stream_type: int


class ControlReader:
    """Turns the control stream into messages."""

    def __init__(self) -> None:
        self._reader = LengthPrefixedReader(MAX_CONTROL_OCTETS)

    def feed(self, data: bytes, is_ended: bool) -> tuple[list[ClientMessage], Malformed | None]:
        """Return the messages that are complete, and the fault behind them if there is one: then drop the reader."""
        messages: list[ClientMessage] = []
        bodies = self._reader.feed(data)
        if isinstance(bodies, Malformed):
            return messages, bodies
        for body in bodies:
            message = decode_client_message(body)
            if isinstance(message, Malformed):
                return messages, message
            if message is not None:
                messages.append(message)
        return messages, _cut_short(self._reader, is_ended)


class UnidirectionalReader:
    """Turns a client's unidirectional stream into audio frames, or finds that its type is unknown."""

    def __init__(self) -> None:
        self._reader = LengthPrefixedReader(MAX_FRAME_OCTETS)
        self._head = b""
        self._has_type = False

    def feed(self, data: bytes, is_ended: bool) -> tuple[list[AudioFrame], Malformed | None] | UnknownStream:
        """As `ControlReader.feed`."""
        if not self._has_type:
            self._head += data
            stream_type = decode_varint(self._head)
            if stream_type is None:
                return [], Malformed("a stream ended within its type") if is_ended else None
            if stream_type[0] != StreamType.UPLINK_AUDIO:
                return UnknownStream(stream_type[0])
            self._has_type = True
            data, self._head = self._head[stream_type[1] :], b""
        frames: list[AudioFrame] = []
        bodies = self._reader.feed(data)
        if isinstance(bodies, Malformed):
            return frames, bodies
        for body in bodies:
            frame = decode_audio_frame(body)
            if isinstance(frame, Malformed):
                return frames, frame
            frames.append(frame)
        return frames, _cut_short(self._reader, is_ended)


def _cut_short(reader: LengthPrefixedReader, is_ended: bool) -> Malformed | None:
    return Malformed("a stream ended within a length-prefixed body") if is_ended and reader.has_partial else None
