"""What `Connection.next_event` returns.

Events of streams and DATAGRAM frames are aioquic's own dataclasses, which its HTTP/3 asks for by type: no frame is
copied. Events of the connection are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aioquic.quic.events import (
    DatagramFrameReceived,
    PingAcknowledged,
    QuicEvent,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)

__all__ = [
    "ConnectionIdIssued",
    "ConnectionIdRetired",
    "ConnectionTerminated",
    "DatagramFrameReceived",
    "HandshakeCompleted",
    "PathFailed",
    "PathValidated",
    "PeerClosed",
    "PeerMoved",
    "PingAcknowledged",
    "PreferredAddressOffered",
    "ProtocolNegotiated",
    "QuicEvent",
    "ServerMoved",
    "StopSendingReceived",
    "StreamDataReceived",
    "StreamReset",
]


@dataclass(frozen=True, slots=True)
class ProtocolNegotiated(QuicEvent):
    """The application protocol is agreed (ALPN); streams follow."""

    alpn_protocol: str | None


@dataclass(frozen=True, slots=True)
class HandshakeCompleted(QuicEvent):
    """The TLS handshake is complete; a server knows that the client's address is its own."""

    alpn_protocol: str | None
    early_data_accepted: bool
    session_resumed: bool


@dataclass(frozen=True, slots=True)
class ConnectionIdIssued(QuicEvent):
    """The peer may use `connection_id` from now on: datagrams for it are this connection's."""

    connection_id: bytes


@dataclass(frozen=True, slots=True)
class ConnectionIdRetired(QuicEvent):
    """The peer will not use `connection_id` again; what is on its way may still carry it."""

    connection_id: bytes


@dataclass(frozen=True, slots=True)
class ConnectionTerminated(QuicEvent):
    """The connection may be forgotten: its closing or draining period, or its idle timeout, is over.

    `frame_type` is that of a transport error, `None` where an application closed the connection.
    """

    error_code: int
    frame_type: int | None
    reason_phrase: str


@dataclass(frozen=True, slots=True)
class PeerClosed(QuicEvent):
    """The peer closed or reset the connection: nothing can be sent any more.

    `ConnectionTerminated` follows after the draining period, when the connection may be forgotten.
    """

    error_code: int
    reason: str
    is_stateless_reset: bool = False


@dataclass(frozen=True, slots=True)
class PeerMoved(QuicEvent):
    """Server: the client's address is now `address`, and validated."""

    address: Any


@dataclass(frozen=True, slots=True)
class PathValidated(QuicEvent):
    """Client: the server answered the challenge of `Connection.begin_migration`; the old socket may be closed."""

    address: Any


@dataclass(frozen=True, slots=True)
class PreferredAddressOffered(QuicEvent):
    """Client: the server wants to be reached at `address` from now on (RFC 9000 section 9.6).

    Open a socket to it, and call `Connection.probe_preferred_address`.
    """

    address: Any


@dataclass(frozen=True, slots=True)
class ServerMoved(QuicEvent):
    """Client: the server answered at its preferred `address`, to which everything is sent from now on."""

    address: Any


@dataclass(frozen=True, slots=True)
class PathFailed(QuicEvent):
    """Client: no answer came to the challenge of `Connection.begin_migration`; try another socket, or connect anew."""

    address: Any
