"""The callbacks of a connection."""

from __future__ import annotations

from typing import Protocol, TypeVar

from voice_client.errors import ClientError

ConnectionT = TypeVar("ConnectionT", contravariant=True)


class SessionHandler(Protocol[ConnectionT]):
    """What a connection calls."""

    def session_requested(self, connection: ConnectionT) -> None:
        """The server is authenticated: streams may be opened, ahead of its answer to the request."""

    def stream_received(self, stream_id: int, data: bytes, is_ended: bool) -> None:
        """The server sent on a stream."""

    def stream_reset(self, stream_id: int) -> None:
        """The server abandoned a stream."""

    def datagram_received(self, data: bytes) -> None:
        """The server sent a datagram."""

    def path_changed(self) -> None:
        """What is sent from now on leaves from, or goes to, another address."""

    def session_draining(self) -> None:
        """The server, or a proxy before it, asks to end the session soon (WT_DRAIN_SESSION)."""

    def session_closed(self, error: ClientError | None) -> None:
        """Nothing more can be sent or will come; `None` where the server closed the session normally."""
