"""Capsules on the CONNECT stream (RFC 9297 section 3.2): the end of a session, and the wish to end it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.h3.codepoints import CLOSE_WEBTRANSPORT_SESSION, DRAIN_WEBTRANSPORT_SESSION
from gateway.wire import Malformed, decode_varint, encode_varint

MAX_REASON_OCTETS: Final = 1024
MAX_CAPSULE_OCTETS: Final = 4 + MAX_REASON_OCTETS


@dataclass(frozen=True, slots=True)
class CloseSession:
    """The peer ends the session; `code` is the application's."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class DrainSession:
    """The peer asks to end the session soon."""


Capsule = CloseSession | DrainSession


def encode_capsule(capsule: Capsule) -> bytes:
    """Return the capsule's octets; a reason too long is cut at a character (draft-02 section 5)."""
    if isinstance(capsule, DrainSession):
        return _framed(DRAIN_WEBTRANSPORT_SESSION, b"")
    reason = capsule.reason.encode()[:MAX_REASON_OCTETS].decode(errors="ignore").encode()
    return _framed(CLOSE_WEBTRANSPORT_SESSION, capsule.code.to_bytes(4, "big") + reason)


class CapsuleReader:
    """Cuts the CONNECT stream's data into capsules; unknown ones are skipped as they arrive, whatever their size."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skipping = 0

    def feed(self, data: bytes) -> list[Capsule] | Malformed:
        """Take the stream's next octets; drop the reader on `Malformed`."""
        self._buffer += data
        capsules: list[Capsule] = []
        while self._skip() and (head := self._head()) is not None:
            capsule_type, length, start = head
            if capsule_type not in _KNOWN:
                del self._buffer[:start]
                self._skipping = length
                continue
            if length > MAX_CAPSULE_OCTETS:
                return Malformed(f"capsule {capsule_type:#x} is {length} octets, the limit is {MAX_CAPSULE_OCTETS}")
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
    if len(body) < 4:
        return Malformed(f"capsule {capsule_type:#x} needs 4 octets of code, got {len(body)}")
    return CloseSession(int.from_bytes(body[:4], "big"), body[4:].decode(errors="replace"))


def _framed(capsule_type: int, body: bytes) -> bytes:
    return encode_varint(capsule_type) + encode_varint(len(body)) + body


_KNOWN: Final = frozenset((CLOSE_WEBTRANSPORT_SESSION, DRAIN_WEBTRANSPORT_SESSION))
