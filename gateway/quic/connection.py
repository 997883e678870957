"""A QUIC connection for both sides: aioquic's, with what RFC 9000 asks and aioquic 1.7.2 leaves out.

This is the one file that touches private names of aioquic's `QuicConnection` and its loss recovery. Another release
may rename any of them, so the version is checked on import, and tests/unit/gateway/quic/test_connection.py holds one
test for each gap that is closed here.
"""

from __future__ import annotations

import hmac
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

import aioquic
from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.buffer import UINT_VAR_MAX_SIZE, size_uint_var
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.congestion.base import create_congestion_control
from aioquic.quic.connection import (
    CONNECTION_LIMIT_FRAME_CAPACITY,
    END_STATES,
    MAX_STREAM_DATA_FRAME_CAPACITY,
    NEW_CONNECTION_ID_FRAME_CAPACITY,
    QuicConnection,
    QuicConnectionError,
    QuicConnectionId,
    QuicConnectionState,
    QuicNetworkPath,
    QuicReceiveContext,
    stream_is_unidirectional,
)
from aioquic.quic.packet import (
    QuicErrorCode,
    QuicFrameType,
    QuicPreferredAddress,
    pull_quic_transport_parameters,
    push_quic_preferred_address,
)
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketPacer, QuicPacketSpace
from aioquic.quic.stream import QuicStream
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.quic.cid_source import CidSource, RandomCids
from gateway.quic.events import PathFailed, PathValidated, PeerClosed, PeerMoved
from gateway.quic.reassembly import ReassemblyBudget, ReassemblyOverflowError, StreamReceiver

__all__ = [
    "CidSource",
    "Connection",
    "ConnectionOptions",
    "PathFailed",
    "PathValidated",
    "PeerClosed",
    "PeerMoved",
    "PreferredAddress",
    "RandomCids",
]

AIOQUIC_VERSION: Final = "1.7.2"
if aioquic.__version__ != AIOQUIC_VERSION:
    raise ImportError(f"aioquic is {aioquic.__version__}, this package is written against {AIOQUIC_VERSION}")

# Every malformed packet is worth a counter, not a line: whoever floods the port would own the disk.
logging.getLogger("quic").setLevel(logging.ERROR)

H3_NO_ERROR: Final = 0x100
MAX_REASON_CHARACTERS: Final = 200  # a reason that does not fit the packet would keep the close from being sent
MIN_STATELESS_RESET_OCTETS: Final = 21
_SHORT_HEADER_OVERHEAD: Final = 1 + 2 + 16  # first octet, packet number, AEAD tag


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """What does not belong to aioquic's configuration.

    `ack_delay_s` must stay below the 25 ms that are advertised: a frame every 20 ms then costs an ACK for one or two
    of them. `max_streams` bounds how many streams of each type a peer may have open. `max_queued_datagrams` bounds
    how stale a DATAGRAM can get behind a closed congestion window; the oldest is dropped.
    """

    ack_delay_s: float = 0.020
    max_streams: int = 256
    max_queued_datagrams: int = 16


@dataclass(frozen=True, slots=True)
class PreferredAddress:
    """Where a server asks its clients to migrate after the handshake (RFC 9000 section 9.6)."""

    ipv4: tuple[str, int] | None = None
    ipv6: tuple[str, int] | None = None


class Connection(QuicConnection):
    """One QUIC connection, sans-IO: drive it by datagrams, timers and `next_event`, as aioquic's own.

    `cids` issues this side's connection IDs, of the length that `configuration.connection_id_length` says.
    """

    def __init__(
        self,
        *,
        configuration: QuicConfiguration,
        cids: CidSource,
        options: ConnectionOptions | None = None,
        original_destination_connection_id: bytes | None = None,
        retry_source_connection_id: bytes | None = None,
        session_ticket_fetcher: tls.SessionTicketFetcher | None = None,
        session_ticket_handler: tls.SessionTicketHandler | None = None,
        token_handler: Any = None,
        preferred_address: PreferredAddress | None = None,
    ) -> None:
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original_destination_connection_id,
            retry_source_connection_id=retry_source_connection_id,
            session_ticket_fetcher=session_ticket_fetcher,
            session_ticket_handler=session_ticket_handler,
            token_handler=token_handler,
        )
        _check_length(cids, configuration)
        self.options = options or ConnectionOptions()
        self.datagrams_dropped = 0
        self._has_found_fault = False
        self._cids = cids
        self._budget = ReassemblyBudget()
        self._retire_prior_to = 0
        self._highest_cid_sent = 0
        self._new_tokens: list[bytes] = []
        self._announced_address: Any = None
        self._remote_forbids_migration = False
        self._is_challenge_due = False
        self._challenge_deadline: float | None = None
        self._first_packet_on_path: int | None = None

        self._ack_delay = self.options.ack_delay_s
        for limit in (self._local_max_streams_bidi, self._local_max_streams_uni):
            limit.value = limit.sent = self.options.max_streams
        self._host_cid_seq = 0
        first = self._new_host_cid(was_sent=True)
        if self._is_client:
            first.stateless_reset_token = None  # type: ignore[assignment]  # absent from a client's parameters
        self._host_cids = [first]
        self.host_cid = self._local_initial_source_connection_id = first.cid
        self._preferred_address: QuicPreferredAddress | None = None
        if preferred_address is not None:
            spare = self._new_host_cid(was_sent=True)
            self._host_cids.append(spare)
            self._highest_cid_sent = spare.sequence_number
            self._preferred_address = QuicPreferredAddress(
                _literal(preferred_address.ipv4, IPv4Address),
                _literal(preferred_address.ipv6, IPv6Address),
                spare.cid,
                spare.stateless_reset_token,
            )

    # What the owner asks

    @property
    def host_cids(self) -> list[bytes]:
        """The connection IDs by which the peer may call this connection now."""
        return [each.cid for each in self._host_cids]

    @property
    def is_confirmed(self) -> bool:
        """Whether the handshake is over and the peer's address proven."""
        return self._handshake_confirmed

    @property
    def has_heard_peer(self) -> bool:
        """Whether any packet could be decrypted yet."""
        return self._state is not QuicConnectionState.FIRSTFLIGHT

    @property
    def has_found_fault(self) -> bool:
        """Whether this side closed the connection with an error."""
        return self._has_found_fault

    @property
    def is_ended(self) -> bool:
        """Whether the connection is closing, draining or gone: what is queued now is never sent."""
        return self._close_event is not None or self._state in END_STATES

    @property
    def probe_timeout_s(self) -> float:
        """The present probe timeout (RFC 9002 section 6.2.1), the unit of draining and CID retirement."""
        return self._loss.get_probe_timeout()

    @property
    def max_datagram_octets(self) -> int:
        """The largest payload that a DATAGRAM frame to this peer can hold now; 0 where the peer takes none."""
        room = self._max_datagram_size - _SHORT_HEADER_OVERHEAD - len(self._peer_cid.cid)
        return max(0, min(room, self._remote_max_datagram_frame_size or 0) - 1 - size_uint_var(room))

    def is_receiving(self, stream_id: int) -> bool:
        """Whether the peer may still send on the stream, so that `stop_stream` makes sense."""
        stream = self._streams.get(stream_id)
        return stream is not None and not stream.receiver.is_finished

    def is_delivered(self, stream_id: int) -> bool:
        """Whether all that was sent on a stream, its end included, has been acknowledged, or it was reset."""
        stream = self._streams.get(stream_id)
        return stream is None or stream.sender.is_finished

    @property
    def peer_certificate_der(self) -> bytes | None:
        """Client: the certificate the server showed, from `HandshakeCompleted` on; to pin it by its fingerprint."""
        certificate = self.tls._peer_certificate
        return None if certificate is None else certificate.public_bytes(Encoding.DER)

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

    # What the owner does

    def close(
        self, error_code: int = QuicErrorCode.NO_ERROR, frame_type: int | None = None, reason_phrase: str = ""
    ) -> None:
        if not self.is_ended:
            self._has_found_fault = error_code not in (QuicErrorCode.NO_ERROR, H3_NO_ERROR)
        super().close(error_code, frame_type, reason_phrase[:MAX_REASON_CHARACTERS])

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """As aioquic's, but a stream that the peer stopped meanwhile swallows what is sent instead of raising."""
        stream = self._streams.get(stream_id)
        is_stopped = stream is not None and stream.sender._reset_error_code is not None
        if not is_stopped and not (self._stream_can_send(stream_id) and self._stream_is_discarded(stream_id)):
            super().send_stream_data(stream_id, data, end_stream)

    def offer_datagram(self, data: bytes) -> bool:
        """Queue a DATAGRAM frame; returns False, and drops it, if the peer or the path cannot take one so large.

        One that never fits would block all later ones, and behind a closed congestion window old ones only get older.
        """
        if len(data) > self.max_datagram_octets:
            self.datagrams_dropped += 1
            return False
        if len(self._datagrams_pending) >= self.options.max_queued_datagrams:
            self._datagrams_pending.popleft()
            self.datagrams_dropped += 1
        self._datagrams_pending.append(data)
        return True

    def send_new_token(self, token: bytes) -> None:
        """Server: queue a NEW_TOKEN frame, by which the client skips address validation next time."""
        self._new_tokens.append(token)

    def rotate_cids(self, cids: CidSource) -> None:
        """Issue from `cids` from now on, and have the peer retire every connection ID issued so far."""
        _check_length(cids, self._configuration)
        self._cids = cids
        self._retire_prior_to = self._host_cid_seq
        if self._handshake_complete:
            self._replenish_connection_ids()

    @property
    def can_migrate(self) -> bool:
        """Client: whether `begin_migration` would succeed now."""
        return (
            self._is_client
            and self._handshake_confirmed
            and not self._remote_forbids_migration
            and bool(self._peer_cid_available)
            and not self.is_ended
        )

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

    # Datagrams and timers

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        if self._is_stateless_reset(data):
            self._close_event = events.ConnectionTerminated(
                error_code=QuicErrorCode.NO_ERROR, frame_type=None, reason_phrase="stateless reset"
            )
            self._events.append(PeerClosed(QuicErrorCode.NO_ERROR, "stateless reset", is_stateless_reset=True))
            self._close_end()
            return
        before = self._network_paths[0] if self._network_paths else None
        super().receive_datagram(data, addr, now)
        if not self._network_paths:
            return
        path = self._network_paths[0]
        if before is not None and path is not before and before.addr[0] != path.addr[0]:
            # RFC 9000 section 9.4; a new port alone is most likely the same path behind a NAT
            self._reset_congestion_state()
        if not self._is_client and path.is_validated and path.addr != self._announced_address:
            if self._announced_address is not None:
                self._events.append(PeerMoved(path.addr))
            self._announced_address = path.addr
        space = self._spaces.get(tls.Epoch.ONE_RTT)
        if space is not None and space.ack_at is not None and len(space.ack_queue) > 1:
            space.ack_at = min(space.ack_at, now)  # a gap is reported at once (RFC 9000 section 13.2.1)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        if not self._network_paths:
            return []
        if self._has_nothing_to_send(now):
            self._pacing_at = None
            return []
        if self._peer_cid.cid:
            return super().datagrams_to_send(now)
        # A peer with a zero-length connection ID never gives a spare one for a probed path, and needs none.
        others = self._network_paths[1:]
        for path in others:
            path.peer_cid = self._peer_cid
        try:
            return super().datagrams_to_send(now)
        finally:
            for path in others:
                path.peer_cid = None

    def get_timer(self) -> float | None:
        timer_at = super().get_timer()
        if self._challenge_deadline is None or timer_at is None or self._state in END_STATES:
            return timer_at
        return min(timer_at, self._challenge_deadline)

    def handle_timer(self, now: float) -> None:
        if self._state is QuicConnectionState.TERMINATED or self._close_at is None:
            return
        super().handle_timer(now)
        if self._challenge_deadline is not None and now >= self._challenge_deadline:
            self._is_challenge_due = False
            self._challenge_deadline = None
            self._events.append(PathFailed(self._network_paths[0].addr))

    def _has_nothing_to_send(self, now: float) -> bool:
        """Whether building a packet would surely yield none; half of all attempts on a voice connection."""
        if not self._handshake_confirmed or self._state in END_STATES:
            return False
        if (
            self._close_pending
            or self._probe_pending
            or self._ping_pending
            or self._datagrams_pending
            or self._retire_connection_ids
            or self._handshake_done_pending
            or self._streams_blocked_pending
            or self._new_tokens
            or self._is_challenge_due
            or self._remote_preferred_address is not None
            or not self._crypto_streams[tls.Epoch.ONE_RTT].sender.buffer_is_empty
        ):
            return False
        ack_at = self._spaces[tls.Epoch.ONE_RTT].ack_at
        if ack_at is not None and ack_at <= now:
            return False
        if any(not each.was_sent for each in self._host_cids):
            return False
        for path in self._network_paths:
            if path.remote_challenges or not (path.is_validated or path.local_challenge_sent):
                return False
        self._raise_data_limit()
        for limit in (self._local_max_data, self._local_max_streams_bidi, self._local_max_streams_uni):
            if limit.value != limit.sent:
                return False
        return all(self._is_idle(stream) for stream in self._streams_queue)

    def _is_idle(self, stream: QuicStream) -> bool:
        sender = stream.sender
        return (
            sender.buffer_is_empty
            and not sender.reset_pending
            and not stream.receiver.stop_pending
            and not stream.is_finished
            and self._stream_limit_wanted(stream) == stream.max_stream_data_local_sent
        )

    def _is_stateless_reset(self, data: bytes) -> bool:
        if len(data) < MIN_STATELESS_RESET_OCTETS or data[0] & 0x80:
            return False
        length = self._configuration.connection_id_length
        if length and data[1 : 1 + length] in self.host_cids:
            return False
        used = [self._peer_cid, *(path.peer_cid for path in self._network_paths if path.peer_cid is not None)]
        return any(
            each.stateless_reset_token and hmac.compare_digest(data[-16:], each.stateless_reset_token) for each in used
        )

    def _close_begin(self, is_initiator: bool, now: float) -> None:
        super()._close_begin(is_initiator, now)
        if not is_initiator and self._close_event is not None:
            self._events.append(PeerClosed(self._close_event.error_code, self._close_event.reason_phrase))

    # Connection IDs

    def _new_host_cid(self, was_sent: bool = False) -> QuicConnectionId:
        cid = self._cids.issue()
        issued = QuicConnectionId(cid, self._host_cid_seq, self._cids.reset_token(cid), was_sent)
        self._host_cid_seq += 1
        return issued

    def _replenish_connection_ids(self) -> None:
        wanted = min(self._cids.active_limit, self._remote_active_connection_id_limit)
        active = sum(each.sequence_number >= self._retire_prior_to for each in self._host_cids)
        if self._configuration.connection_id_length:
            self._host_cids += [self._new_host_cid() for _ in range(wanted - active)]

    def _write_new_connection_id_frame(self, builder: QuicPacketBuilder, connection_id: QuicConnectionId) -> None:
        buf = builder.start_frame(
            QuicFrameType.NEW_CONNECTION_ID,
            capacity=NEW_CONNECTION_ID_FRAME_CAPACITY,
            handler=self._on_new_connection_id_delivery,
            handler_args=(connection_id,),
        )
        buf.push_uint_var(connection_id.sequence_number)
        buf.push_uint_var(min(self._retire_prior_to, connection_id.sequence_number))
        buf.push_uint8(len(connection_id.cid))
        buf.push_bytes(connection_id.cid)
        buf.push_bytes(connection_id.stateless_reset_token)
        connection_id.was_sent = True
        self._highest_cid_sent = max(self._highest_cid_sent, connection_id.sequence_number)
        self._events.append(events.ConnectionIdIssued(connection_id=connection_id.cid))

    def _handle_retire_connection_id_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        start = buf.tell()
        sequence_number = buf.pull_uint_var()
        if sequence_number > self._highest_cid_sent:
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION, frame_type, f"connection ID {sequence_number} was never sent"
            )
        buf.seek(start)
        super()._handle_retire_connection_id_frame(context, frame_type, buf)

    # Transport parameters

    def _serialize_transport_parameters(self) -> bytes:
        data = super()._serialize_transport_parameters()
        if not self._is_client and self._cids.is_migration_disabled:
            data += _parameter(0x0C, b"")
        if self._preferred_address is not None:
            buf = Buffer(capacity=128)
            push_quic_preferred_address(buf, self._preferred_address)
            data += _parameter(0x0D, buf.data)
        return data

    def _parse_transport_parameters(self, data: bytes, from_session_ticket: bool = False) -> None:
        super()._parse_transport_parameters(data, from_session_ticket)
        if not from_session_ticket:
            parameters = pull_quic_transport_parameters(Buffer(data=data))
            self._remote_forbids_migration = bool(parameters.disable_active_migration)

    # Paths

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
        if is_answer:
            self._is_challenge_due = False
            self._challenge_deadline = None
            self._events.append(PathValidated(path.addr))

    def _on_path_challenge_delivery(self, delivery: QuicDeliveryState, network_path: QuicNetworkPath) -> None:
        if network_path is not self._network_paths[0]:
            return
        # Acknowledged and still not answered means that the response was lost, and no one sends that again.
        if not network_path.is_validated:
            network_path.local_challenge_sent = False
        self._is_challenge_due = self._challenge_deadline is not None

    # Flow control: limits follow what was delivered, not the highest offset a peer names

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> QuicStream:
        known = len(self._streams_queue)
        stream = super()._get_or_create_stream(frame_type, stream_id)
        self._adopt(self._streams_queue[known:])
        return stream

    def _get_or_create_stream_for_send(self, stream_id: int) -> QuicStream:
        known = len(self._streams_queue)
        stream = super()._get_or_create_stream_for_send(stream_id)
        if not stream_is_unidirectional(stream_id):
            self._adopt(self._streams_queue[known:])
        return stream

    def _adopt(self, streams: Iterable[QuicStream]) -> None:
        for stream in streams:
            stream.receiver = StreamReceiver(stream.stream_id or 0, self._budget)  # type: ignore[assignment]  # same shape

    def _handle_stream_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        try:
            super()._handle_stream_frame(context, frame_type, buf)
        except ReassemblyOverflowError as overflow:
            raise QuicConnectionError(
                QuicErrorCode.INTERNAL_ERROR, frame_type, f"more than {self._budget.max_chunks} gaps in streams"
            ) from overflow

    def _raise_data_limit(self) -> None:
        limit = self._local_max_data
        window = self._configuration.max_data
        wanted = self._budget.delivered_octets + window
        if wanted - limit.value >= window // 2:
            limit.value = wanted

    def _stream_limit_wanted(self, stream: QuicStream) -> int:
        limit = stream.max_stream_data_local
        if not limit or stream.receiver.is_finished:
            return stream.max_stream_data_local_sent
        window = self._configuration.max_stream_data
        wanted = stream.receiver.starting_offset() + window
        return wanted if wanted - limit >= window // 2 else limit

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        self._raise_data_limit()
        limit = self._local_max_data
        used, limit.used = limit.used, 0  # hides the octets named, by which aioquic would double the limit
        try:
            super()._write_connection_limits(builder, space)
        finally:
            limit.used = used
        if self._is_challenge_due:
            self._write_path_challenge_frame(builder, self._network_paths[0])
            self._is_challenge_due = False
        while self._new_tokens:
            self._write_new_token_frame(builder, self._new_tokens[0])
            self._new_tokens.pop(0)

    def _write_stream_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream) -> None:
        wanted = self._stream_limit_wanted(stream)
        if wanted == stream.max_stream_data_local_sent:
            return
        buf = builder.start_frame(
            QuicFrameType.MAX_STREAM_DATA,
            capacity=MAX_STREAM_DATA_FRAME_CAPACITY,
            handler=self._on_max_stream_data_delivery,
            handler_args=(stream,),
        )
        buf.push_uint_var(stream.stream_id or 0)
        buf.push_uint_var(wanted)
        stream.max_stream_data_local = stream.max_stream_data_local_sent = wanted

    def _write_new_token_frame(self, builder: QuicPacketBuilder, token: bytes) -> None:
        buf = builder.start_frame(
            QuicFrameType.NEW_TOKEN,
            capacity=CONNECTION_LIMIT_FRAME_CAPACITY + len(token),
            handler=self._on_new_token_delivery,
            handler_args=(token,),
        )
        buf.push_uint_var(len(token))
        buf.push_bytes(token)

    def _on_new_token_delivery(self, delivery: QuicDeliveryState, token: bytes) -> None:
        if delivery != QuicDeliveryState.ACKED:
            self._new_tokens.append(token)


def _check_length(cids: CidSource, configuration: QuicConfiguration) -> None:
    if cids.length_octets != configuration.connection_id_length:
        raise ValueError(
            f"connection IDs are {cids.length_octets} octets, configured are {configuration.connection_id_length}"
        )


def _literal(address: tuple[str, int] | None, family: type[IPv4Address] | type[IPv6Address]) -> tuple[str, int] | None:
    return None if address is None else (str(family(address[0])), address[1])


def _parameter(identifier: int, value: bytes) -> bytes:
    buf = Buffer(capacity=2 * UINT_VAR_MAX_SIZE + len(value))
    buf.push_uint_var(identifier)
    buf.push_uint_var(len(value))
    buf.push_bytes(value)
    return buf.data
