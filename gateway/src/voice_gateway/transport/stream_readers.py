"""Reads what a client sends on its streams, sans-IO: control messages, and audio behind a stream type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from voicelink.wire import (
    MAX_AUDIO_BYTES,
    MAX_CONTROL_BYTES,
    AudioFrame,
    ClientMessage,
    LengthPrefixedReader,
    Malformed,
    StreamType,
    decode_audio_frame,
    decode_client_message,
    decode_varint,
)

MAX_FRAME_BYTES: Final = MAX_AUDIO_BYTES + 17
"""A payload behind its codec and two varints."""


@dataclass(frozen=True, slots=True)
class UnknownStream:
    """A stream of a type that this version does not know: ask the peer to stop it, and go on."""

    stream_type: int


class ControlReader:
    """Turns the control stream into messages."""

    def __init__(self) -> None:
        self._reader = LengthPrefixedReader(MAX_CONTROL_BYTES)
        self._is_ended = False

    @property
    def has_more(self) -> bool:
        """Whether messages that have arrived wait for another `feed`, of no data perhaps."""
        return self._reader.has_more

    @property
    def unread_bytes(self) -> int:
        """How many bytes such messages have."""
        return self._reader.unread_bytes

    def feed(
        self, data: bytes, is_ended: bool, most: int | None = None
    ) -> tuple[list[ClientMessage], Malformed | None]:
        """Return the messages that are complete, and the fault behind them if there is one: then drop the reader.

        Of more than `most` the rest is kept for the next call.
        """
        self._is_ended = self._is_ended or is_ended
        messages: list[ClientMessage] = []
        bodies = self._reader.feed(data, most)
        if isinstance(bodies, Malformed):
            return messages, bodies
        for body in bodies:
            message = decode_client_message(body)
            if isinstance(message, Malformed):
                return messages, message
            if message is not None:
                messages.append(message)
        return messages, _cut_short(self._reader) if self._is_ended and not self.has_more else None


class UnidirectionalReader:
    """Turns a client's unidirectional stream into audio frames, or finds that its type is unknown."""

    def __init__(self) -> None:
        self._reader = LengthPrefixedReader(MAX_FRAME_BYTES)
        self._head = b""
        self.has_type = False
        """Whether the stream is known to be one of audio."""
        self._is_ended = False

    @property
    def has_more(self) -> bool:
        """Whether frames that have arrived wait for another `feed`, of no data perhaps."""
        return self._reader.has_more

    @property
    def unread_bytes(self) -> int:
        """How many bytes such frames have."""
        return self._reader.unread_bytes

    @property
    def is_done(self) -> bool:
        """Whether the stream ended, and all of it was read."""
        return self._is_ended and not self.has_more

    def feed(
        self, data: bytes, is_ended: bool, most: int | None = None
    ) -> tuple[list[AudioFrame], Malformed | None] | UnknownStream:
        """As `ControlReader.feed`, `most` frames at a time."""
        self._is_ended = self._is_ended or is_ended
        if not self.has_type:
            self._head += data
            stream_type = decode_varint(self._head)
            if stream_type is None:
                return [], Malformed("a stream ended within its type") if is_ended else None
            if stream_type[0] != StreamType.UPLINK_AUDIO:
                return UnknownStream(stream_type[0])
            self.has_type = True
            data, self._head = self._head[stream_type[1] :], b""
        frames: list[AudioFrame] = []
        bodies = self._reader.feed(data, most)
        if isinstance(bodies, Malformed):
            return frames, bodies
        for body in bodies:
            frame = decode_audio_frame(body)
            if isinstance(frame, Malformed):
                return frames, frame
            frames.append(frame)
        return frames, _cut_short(self._reader) if self._is_ended and not self.has_more else None


def _cut_short(reader: LengthPrefixedReader) -> Malformed | None:
    return Malformed("a stream ended within a length-prefixed body") if reader.has_partial else None
