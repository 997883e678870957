"""Network paths: a client's migration, a server's view of it, and congestion state that belongs to one path."""

from __future__ import annotations

import math
from typing import Any, Final

from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.quic.congestion.base import create_congestion_control
from aioquic.quic.connection import END_STATES, QuicConnectionState, QuicNetworkPath, QuicReceiveContext
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketPacer, QuicPacketSpace

from voicelink.quic.events import PathFailed, PathValidated, PeerMoved, PreferredAddressOffered, ServerMoved
from voicelink.quic.parts.resumption import Resumption

# `sent + delay - delay` may come out above `sent`: aioquic finds a loss only a little after its own deadline.
_TIMER_SLACK_S: Final = 1e-6
_MOST_PROBES: Final = 3


class Paths(Resumption):
    """Active migration, path validation, and a fresh start on each path (RFC 9000 section 9)."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._announced_address: Any = None
        self._is_challenge_due = False
        self._challenge_deadline: float | None = None
        self._first_packet_on_path: int | None = None
        self._is_at_preferred_address = False
        self._probes_left = _MOST_PROBES

    @property
    def probe_timeout_s(self) -> float:
        """The present probe timeout (RFC 9002 section 6.2.1), the unit of draining and CID retirement."""
        return self._loss.get_probe_timeout()

    @property
    def largest_acknowledged(self) -> int | None:
        """The largest 1-RTT packet number the peer has acknowledged."""
        space = self._spaces.get(tls.Epoch.ONE_RTT)
        return None if space is None else space.largest_acked_packet or None

    @property
    def has_unacknowledged(self) -> bool:
        """Whether a 1-RTT packet that the peer must acknowledge has not been, and is not given up for lost."""
        space = self._spaces.get(tls.Epoch.ONE_RTT)
        return space is not None and space.ack_eliciting_in_flight > 0

    @property
    def can_migrate(self) -> bool:
        """Client: whether `begin_migration` would succeed now."""
        return (
            self._is_client
            and self._handshake_confirmed
            # the ban is for the address of the handshake alone (RFC 9000 section 18.2)
            and (self._is_at_preferred_address or not self._remote_forbids_migration)
            and bool(self._peer_cid_available)
            and not self.is_ended
        )

    def probe(self) -> None:
        """Ask the peer for an acknowledgement, as a probe timeout does (RFC 9002 section 6.2.4); transmit at once."""
        self._probe_pending = True

    def begin_migration(self, now: float) -> bool:
        """Client: go on from a new local address, with a fresh connection ID and a challenge to the server.

        Send through the new socket from here on, transmit at once, and keep reading the old socket for a second.
        `PathValidated` or `PathFailed` follows. Returns False, and changes nothing, unless `can_migrate`.
        """
        if not self.can_migrate:
            return False
        self.change_connection_id()
        self._network_paths[0].local_challenges.clear()
        self._is_challenge_due = True
        self._challenge_deadline = now + 3 * max(self.probe_timeout_s, 2 * self._configuration.initial_rtt)
        self._reset_congestion_state()
        return True

    def probe_preferred_address(self, address: Any) -> bool:
        """Client: see whether the server answers at its preferred address, and go there if it does.

        Transmit at once; datagrams for `address` are to leave through a socket of their own. `ServerMoved` follows, or
        `PathFailed`. Returns False, and does nothing, without a connection ID for that path.
        """
        if self.is_ended or not self._peer_cid_available:
            return False
        # that of the transport parameter, unless it was used up meanwhile
        spare = min(self._peer_cid_available, key=lambda each: each.sequence_number or 0)
        self._peer_cid_available.remove(spare)
        path = QuicNetworkPath(address)
        path.peer_cid = spare
        self._add_network_path(path)
        return True

    def get_timer(self) -> float | None:
        timer_at = super().get_timer()
        if self._challenge_deadline is None or timer_at is None or self._state in END_STATES:
            return timer_at
        return min(timer_at, self._challenge_deadline)

    def handle_timer(self, now: float) -> None:
        if self._state is QuicConnectionState.TERMINATED or self._close_at is None:
            return
        super().handle_timer(now + _TIMER_SLACK_S)
        if self._challenge_deadline is not None and now >= self._challenge_deadline:
            self._is_challenge_due = False
            self._challenge_deadline = None
            self._events.append(PathFailed(self._network_paths[0].addr))

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        path = self._network_paths[0]
        is_close_limited = self._close_pending and not path.is_validated
        datagrams = super().datagrams_to_send(now) if self._peer_cid.cid else self._sent_without_peer_cids(now)
        return self._within_amplification_limit(datagrams, path) if is_close_limited else datagrams

    def _sent_without_peer_cids(self, now: float) -> list[tuple[bytes, Any]]:
        # A peer with a zero-length connection ID never gives a spare one for a probed path, and needs none.
        others = self._network_paths[1:]
        for path in others:
            path.peer_cid = self._peer_cid
        try:
            return super().datagrams_to_send(now)
        finally:
            for path in others:
                path.peer_cid = None

    @staticmethod
    def _within_amplification_limit(
        datagrams: list[tuple[bytes, Any]], path: QuicNetworkPath
    ) -> list[tuple[bytes, Any]]:
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

    def _path_followed(self, before: QuicNetworkPath | None) -> None:
        """A datagram was received while `before` was the active path: see whether another is now."""
        path = self._network_paths[0]
        if before is not None and path is not before and before.addr[0] != path.addr[0]:
            # RFC 9000 section 9.4; a new port alone is most likely the same path behind a NAT
            self._reset_congestion_state()
        if not self._is_client and path.is_validated and path.addr != self._announced_address:
            if self._announced_address is not None:
                self._events.append(PeerMoved(path.addr))
            self._announced_address = path.addr

    def _has_path_to_validate(self) -> bool:
        return self._is_challenge_due or any(
            path.remote_challenges or not (path.is_validated or path.local_challenge_sent)
            for path in self._network_paths
        )

    def _reset_congestion_state(self) -> None:
        """Begin as on a new connection: what is in flight elsewhere says nothing about this path."""
        loss = self._loss
        for space in loss.spaces:
            for packet in space.sent_packets.values():
                packet.in_flight = False
        size = self._max_datagram_size
        algorithm = self._configuration.congestion_control_algorithm
        loss._cc = create_congestion_control(algorithm, max_datagram_size=size)
        loss._pacer = QuicPacketPacer(max_datagram_size=size)
        loss._pto_count = 0
        self._first_packet_on_path = self._packet_number
        self._forget_round_trip_time()

    def _forget_round_trip_time(self) -> None:
        loss = self._loss
        loss._rtt_initialized = False
        loss._rtt_min = math.inf
        loss._rtt_latest = loss._rtt_smoothed = loss._rtt_variance = 0.0

    def _handle_ack_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        super()._handle_ack_frame(context, frame_type, buf)
        if self._first_packet_on_path is not None and context.epoch is tls.Epoch.ONE_RTT:
            if self._spaces[context.epoch].largest_acked_packet < self._first_packet_on_path:
                self._forget_round_trip_time()
            else:
                self._first_packet_on_path = None

    def _handle_path_response_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        data = buf.data_slice(buf.tell(), min(buf.tell() + 8, buf.capacity))
        path = self._network_paths[0]
        is_answer = self._challenge_deadline is not None and data in path.local_challenges
        super()._handle_path_response_frame(context, frame_type, buf)
        if self._is_client and self._network_paths[0] is not path:
            self._is_at_preferred_address = True
            self._reset_congestion_state()
            self._events.append(ServerMoved(self._network_paths[0].addr))
        if is_answer:
            self._is_challenge_due = False
            self._challenge_deadline = None
            self._events.append(PathValidated(path.addr))

    def _probe_preferred_address(self) -> None:
        """Leave it to the client, which needs a socket first."""
        address = self._find_preferred_address()
        self._remote_preferred_address = None
        if address is not None:
            self._events.append(PreferredAddressOffered(address))

    def _on_path_challenge_delivery(self, delivery: QuicDeliveryState, network_path: QuicNetworkPath) -> None:
        if network_path is not self._network_paths[0]:
            self._on_probe_delivery(delivery, network_path)
            return
        # Acknowledged and still not answered means that the response was lost, and no one sends that again.
        if not network_path.is_validated:
            network_path.local_challenge_sent = False
        self._is_challenge_due = self._challenge_deadline is not None

    def _on_probe_delivery(self, delivery: QuicDeliveryState, path: QuicNetworkPath) -> None:
        """A challenge to the server's preferred address: ask again a few times, then leave it."""
        if delivery is QuicDeliveryState.ACKED or path.is_validated or path not in self._network_paths:
            return
        if not self._is_client or path.peer_cid is None:
            return
        self._probes_left -= 1
        if self._probes_left > 0:
            path.local_challenge_sent = False
        else:
            self._network_paths.remove(path)
            self._retire_peer_cid(path.peer_cid)
            self._events.append(PathFailed(path.addr))

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        super()._write_connection_limits(builder, space)
        if self._is_challenge_due:
            self._write_path_challenge_frame(builder, self._network_paths[0])
            self._is_challenge_due = False
