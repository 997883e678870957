"""The events of the WebTransport layer.

Error codes are the application's own; `None` where the peer sent one that is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec


@dataclass(frozen=True, slots=True)
class SessionRequested:
    """Server: a CONNECT for WebTransport; answer it by `WebTransportLayer.accept` or `refuse`.

    `path` includes the query. `headers` holds the regular fields, names in lower case.
    """

    session_id: int
    authority: str
    path: str
    origin: str | None
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """Client: the server accepted."""

    session_id: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SessionRefused:
    """Client: the server answered with this HTTP status; there is no session."""

    session_id: int
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


class StreamData(msgspec.Struct, frozen=True, gc=False):
    """Bytes of a stream that the peer sent; `is_ended` with the last ones."""

    session_id: int
    stream_id: int
    data: bytes
    is_ended: bool
    is_unidirectional: bool


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer abandoned its half of a stream."""

    session_id: int
    stream_id: int
    code: int | None


@dataclass(frozen=True, slots=True)
class StreamStopped:
    """The peer wants no more of a stream; this half has been reset."""

    session_id: int
    stream_id: int
    code: int | None


class DatagramReceived(msgspec.Struct, frozen=True, gc=False):
    """An unreliable datagram."""

    session_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SessionDraining:
    """The peer asks to end the session soon."""

    session_id: int


@dataclass(frozen=True, slots=True)
class SessionStopped:
    """The peer reads no more of the session's own stream, as libraries do that are about to close the session.

    Why it ends comes in the capsule behind (draft-16 section 6). The owner waits for that for
    `voicelink.h3.limits.STOPPED_SESSION_S`, then calls `WebTransportLayer.end_stopped_session`.
    """

    session_id: int


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The peer ended the session; its streams are gone."""

    session_id: int
    code: int
    reason: str


WebTransportEvent = (
    SessionRequested
    | SessionOpened
    | SessionRefused
    | StreamData
    | StreamReset
    | StreamStopped
    | DatagramReceived
    | SessionDraining
    | SessionStopped
    | SessionClosed
)
