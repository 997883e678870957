"""Network paths: a client's migration, a server's view of it, and what belongs to one path alone. Sans-IO."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from aioquic.quic.connection import QuicNetworkPath
from aioquic.quic.packet_builder import QuicDeliveryState

from voicelink.quic.events import PeerMoved

_MOST_PROBES: Final = 3


class Paths:
    """Path validation, migration, and a fresh start on each path (RFC 9000 section 9)."""

    def __init__(self) -> None:
        self.is_migration_forbidden = False
        """Client: whether the server sent `disable_active_migration`."""
        self.is_at_preferred_address = False
        """Client: whether the server is called at its preferred address; the ban is not for that (section 18.2)."""
        self.is_challenge_due = False
        """Client: whether a PATH_CHALLENGE is to be written for the active path."""
        self.deadline: float | None = None
        """Client: when the path of a migration counts as failed; `None` while none is being validated."""
        self._announced_address: Any = None
        self._first_packet: int | None = None
        self._probes_left = _MOST_PROBES

    @property
    def allows_migration(self) -> bool:
        """Client: whether the server takes packets from another local address."""
        return self.is_at_preferred_address or not self.is_migration_forbidden

    def begin_validation(self, deadline: float) -> None:
        """A migration began."""
        self.is_challenge_due = True
        self.deadline = deadline

    def end_validation(self) -> None:
        """The challenge was answered, or is given up."""
        self.is_challenge_due = False
        self.deadline = None

    def on_active_path(self, path: QuicNetworkPath) -> PeerMoved | None:
        """Server: return the event where `path` is a validated one that the application does not know yet."""
        if not path.is_validated or path.addr == self._announced_address:
            return None
        is_first = self._announced_address is None
        self._announced_address = path.addr
        return None if is_first else PeerMoved(path.addr)

    def is_announced(self, path: QuicNetworkPath) -> bool:
        """Server: whether the application knows that `path` is the client's."""
        return bool(path.addr == self._announced_address)

    def on_challenge_delivery(self, path: QuicNetworkPath) -> None:
        """A PATH_CHALLENGE on the active path was acknowledged or lost.

        Acknowledged and still not answered means that the response was lost, which is not sent again.
        """
        if not path.is_validated:
            path.local_challenge_sent = False
        self.is_challenge_due = self.deadline is not None

    def on_probe_delivery(self, delivery: QuicDeliveryState, path: QuicNetworkPath) -> bool:
        """Client: a PATH_CHALLENGE to the preferred address was acknowledged or lost; return whether to give it up."""
        if delivery is QuicDeliveryState.ACKED or path.is_validated:
            return False
        self._probes_left -= 1
        if self._probes_left > 0:
            path.local_challenge_sent = False
        return self._probes_left <= 0

    def begin_measuring(self, first_packet: int) -> None:
        """From `first_packet` on, packets leave on another path."""
        self._first_packet = first_packet

    def is_round_trip_foreign(self, largest_acked: int) -> bool:
        """Whether the round trip of an ACK was that of a former path."""
        if self._first_packet is None:
            return False
        if largest_acked < self._first_packet:
            return True
        self._first_packet = None
        return False


def is_another_path(before: QuicNetworkPath, after: QuicNetworkPath) -> bool:
    """Whether congestion control begins anew (section 9.4); a new port alone is most likely that of a NAT."""
    return after is not before and before.addr[0] != after.addr[0]


def has_path_to_validate(paths: Iterable[QuicNetworkPath]) -> bool:
    """Whether a PATH_CHALLENGE or PATH_RESPONSE is to be sent."""
    return any(path.remote_challenges or not (path.is_validated or path.local_challenge_sent) for path in paths)


def within_amplification_limit(datagrams: list[tuple[bytes, Any]], path: QuicNetworkPath) -> list[tuple[bytes, Any]]:
    """Leave out of a close what exceeds three times the bytes received (RFC 9000 section 8.1).

    aioquic counts the bytes of a close and does not limit them. What is left out is not sent later: the peer finds
    the connection gone when it sends again.
    """
    path.bytes_sent -= sum(len(datagram) for datagram, _ in datagrams)
    allowed = []
    for datagram, address in datagrams:
        if path.can_send(len(datagram)):
            path.bytes_sent += len(datagram)
            allowed.append((datagram, address))
    return allowed
