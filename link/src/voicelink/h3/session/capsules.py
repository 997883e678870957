"""Capsules on the CONNECT stream (RFC 9297 section 3.2): a session's end, the wish to end it, and its flow control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from voicelink.h3.session.codepoints import (
    CLOSE_WEBTRANSPORT_SESSION,
    DATA_BLOCKED,
    DRAIN_WEBTRANSPORT_SESSION,
    MAX_DATA,
    MAX_STREAM_DATA,
    MAX_STREAMS_BIDI,
    MAX_STREAMS_UNI,
    STREAM_DATA_BLOCKED,
    STREAMS_BLOCKED_BIDI,
    STREAMS_BLOCKED_UNI,
)
from voicelink.wire import Malformed, decode_varint, encode_varint

MAX_REASON_BYTES: Final = 1024
MAX_CAPSULE_BYTES: Final = 4 + MAX_REASON_BYTES
MAX_STREAMS: Final = 1 << 60
"""The highest limit of streams there is (draft-16 section 5.6.2)."""


@dataclass(frozen=True, slots=True)
class CloseSession:
    """The peer ends the session; `code` is the application's."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class DrainSession:
    """The peer asks to end the session soon."""


@dataclass(frozen=True, slots=True)
class MaxData:
    """The session's streams may carry so many bytes altogether, their headers not counted."""

    maximum: int


@dataclass(frozen=True, slots=True)
class MaxStreams:
    """So many streams of this kind may be opened in the session, those that are closed included."""

    maximum: int
    is_unidirectional: bool


@dataclass(frozen=True, slots=True)
class DataBlocked:
    """The sender has more to send than this limit allows."""

    maximum: int


@dataclass(frozen=True, slots=True)
class StreamsBlocked:
    """The sender wants to open more streams than this limit allows."""

    maximum: int
    is_unidirectional: bool


Capsule = CloseSession | DrainSession | MaxData | MaxStreams | DataBlocked | StreamsBlocked


def encode_capsule(capsule: Capsule) -> bytes:
    """Return the capsule's bytes; a reason too long is cut at a character (draft-02 section 5)."""
    match capsule:
        case DrainSession():
            return _framed(DRAIN_WEBTRANSPORT_SESSION, b"")
        case CloseSession(code, text):
            reason = text.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()
            return _framed(CLOSE_WEBTRANSPORT_SESSION, code.to_bytes(4, "big") + reason)
        case MaxData(maximum):
            return _framed(MAX_DATA, encode_varint(maximum))
        case MaxStreams(maximum, is_unidirectional):
            return _framed(MAX_STREAMS_UNI if is_unidirectional else MAX_STREAMS_BIDI, encode_varint(maximum))
        case DataBlocked(maximum):
            return _framed(DATA_BLOCKED, encode_varint(maximum))
        case StreamsBlocked(maximum, is_unidirectional):
            return _framed(STREAMS_BLOCKED_UNI if is_unidirectional else STREAMS_BLOCKED_BIDI, encode_varint(maximum))


class CapsuleReader:
    """Cuts the CONNECT stream's data into capsules; unknown ones of any size are skipped as they arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skipping = 0

    def feed(self, data: bytes) -> list[Capsule] | Malformed:
        """Take the stream's next bytes; drop the reader on `Malformed`."""
        self._buffer += data
        capsules: list[Capsule] = []
        while self._skip() and (head := self._head()) is not None:
            capsule_type, length, start = head
            if capsule_type not in _KNOWN:
                del self._buffer[:start]
                self._skipping = length
                continue
            if length > MAX_CAPSULE_BYTES:
                return Malformed(f"capsule {capsule_type:#x} is {length} bytes, the limit is {MAX_CAPSULE_BYTES}")
            if start + length > len(self._buffer):
                break
            body = bytes(self._buffer[start : start + length])
            del self._buffer[: start + length]
            capsule = _parse(capsule_type, body)
            if isinstance(capsule, Malformed):
                return capsule
            capsules.append(capsule)
        return capsules

    def _skip(self) -> bool:
        """Drop what is left of an unknown capsule; returns whether all of it is gone."""
        dropped = min(self._skipping, len(self._buffer))
        del self._buffer[:dropped]
        self._skipping -= dropped
        return not self._skipping

    def _head(self) -> tuple[int, int, int] | None:
        capsule_type = decode_varint(self._buffer)
        length = decode_varint(self._buffer, capsule_type[1]) if capsule_type else None
        return (capsule_type[0], *length) if capsule_type and length else None


def _parse(capsule_type: int, body: bytes) -> Capsule | Malformed:
    if capsule_type == DRAIN_WEBTRANSPORT_SESSION:
        return DrainSession()
    if capsule_type == CLOSE_WEBTRANSPORT_SESSION:
        if len(body) < 4:
            return Malformed(f"capsule {capsule_type:#x} needs 4 bytes of code, got {len(body)}")
        return CloseSession(int.from_bytes(body[:4], "big"), body[4:].decode(errors="replace"))
    if capsule_type in _OF_HTTP2_ONLY:
        return Malformed(f"capsule {capsule_type:#x} belongs to WebTransport over HTTP/2")
    value = decode_varint(body)
    if value is None or value[1] != len(body):
        return Malformed(f"capsule {capsule_type:#x} holds one varint, got {len(body)} bytes")
    return _limit(capsule_type, value[0])


def _limit(capsule_type: int, maximum: int) -> Capsule | Malformed:
    if capsule_type == MAX_DATA:
        return MaxData(maximum)
    if capsule_type == DATA_BLOCKED:
        return DataBlocked(maximum)
    if maximum > MAX_STREAMS:
        return Malformed(f"capsule {capsule_type:#x} names {maximum} streams, the limit is 2^60")
    is_unidirectional = capsule_type in (MAX_STREAMS_UNI, STREAMS_BLOCKED_UNI)
    is_raise = capsule_type in (MAX_STREAMS_UNI, MAX_STREAMS_BIDI)
    return MaxStreams(maximum, is_unidirectional) if is_raise else StreamsBlocked(maximum, is_unidirectional)


def _framed(capsule_type: int, body: bytes) -> bytes:
    return encode_varint(capsule_type) + encode_varint(len(body)) + body


_OF_HTTP2_ONLY: Final = frozenset((MAX_STREAM_DATA, STREAM_DATA_BLOCKED))
_KNOWN: Final = _OF_HTTP2_ONLY | {
    CLOSE_WEBTRANSPORT_SESSION,
    DRAIN_WEBTRANSPORT_SESSION,
    MAX_DATA,
    MAX_STREAMS_BIDI,
    MAX_STREAMS_UNI,
    DATA_BLOCKED,
    STREAMS_BLOCKED_BIDI,
    STREAMS_BLOCKED_UNI,
}
