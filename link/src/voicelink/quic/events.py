"""What `Connection.next_event` returns beside aioquic's own events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aioquic.quic.events import QuicEvent


@dataclass(frozen=True, slots=True)
class PeerClosed(QuicEvent):
    """The peer closed or reset the connection: nothing can be sent any more.

    aioquic's `ConnectionTerminated` follows after the draining period, when the connection may be forgotten.
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
    """Client: nobody answered the challenge of `Connection.begin_migration`; try another socket, or connect anew."""

    address: Any
