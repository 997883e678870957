"""The connection itself: datagrams in and out, timers, and its end."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import END_STATES, QuicConnectionError, QuicConnectionState, QuicReceiveContext
from aioquic.quic.packet import QuicErrorCode
from aioquic.quic.packet_builder import QuicPacketBuilder, QuicPacketBuilderStop
from aioquic.quic.recovery import QuicPacketSpace
from cryptography.hazmat.primitives.serialization import Encoding

from voicelink.quic.cid_source import CidSource
from voicelink.quic.events import PeerClosed
from voicelink.quic.handshake.hello_retry import RetryingContext
from voicelink.quic.limits.crypto_buffer import (
    CLIENT_WINDOW_BYTES,
    SERVER_WINDOW_BYTES,
    CryptoOverflowError,
    CryptoReceiver,
)
from voicelink.quic.limits.recovery import ACKS_BEFORE_PING, BoundedRecovery
from voicelink.quic.limits.workload import EVENT_UNITS, FrameTable, SharedLoad, Workload
from voicelink.quic.parts.connection_ids import MAX_UDP_PAYLOAD_BYTES, PreferredAddress
from voicelink.quic.parts.flow_control import ConnectionOptions
from voicelink.quic.parts.minimum_window import Floor
from voicelink.quic.parts.resumption import TicketSealer

H3_NO_ERROR: Final = 0x100
MAX_REASON_CHARACTERS: Final = 200  # a reason that does not fit the packet would keep the close from being sent
MAX_ACK_FRAMES_PER_PACKET: Final = 8
"""One says all there is to say about a packet number space."""
_MIGRATION_UNITS: Final = 200


class Connection(Floor):
    """One QUIC connection, sans-IO: drive it by datagrams, timers and `next_event`, as aioquic's own.

    `cids` issues this side's connection IDs, of the length that `configuration.connection_id_length` says.
    `shared_load` counts the work of all connections of one endpoint.
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
        ticket_sealer: TicketSealer | None = None,
        token_handler: Any = None,
        preferred_address: PreferredAddress | None = None,
        shared_load: SharedLoad | None = None,
    ) -> None:
        super().__init__(
            configuration=configuration,
            cids=cids,
            options=options or ConnectionOptions(),
            original_destination_connection_id=original_destination_connection_id,
            retry_source_connection_id=retry_source_connection_id,
            session_ticket_fetcher=session_ticket_fetcher,
            session_ticket_handler=session_ticket_handler,
            ticket_sealer=ticket_sealer,
            token_handler=token_handler,
            preferred_address=preferred_address,
        )
        self._has_found_fault = False
        self.packets_ignored = 0
        """Datagrams dropped unread for the work that the peer's earlier ones made, or their size."""
        self.datagram_frames_ignored = 0
        """DATAGRAM frames dropped at their rate limit."""
        limits = self.options
        self._workload = Workload(
            limits.max_packets_per_s, limits.max_datagram_frames_per_s, shared_load, limits.busy_packets_per_s
        )
        table = "_QuicConnection__frame_handlers"
        vars(self)[table] = FrameTable(vars(self)[table], self._workload)
        self._ack_context: QuicReceiveContext | None = None
        self._ack_frames = 0
        self._crypto_window = CLIENT_WINDOW_BYTES if self._is_client else SERVER_WINDOW_BYTES
        self._loss: BoundedRecovery = BoundedRecovery(
            congestion_control_algorithm=configuration.congestion_control_algorithm,
            initial_rtt=configuration.initial_rtt,
            max_datagram_size=self._max_datagram_size,
            peer_completed_address_validation=not self._is_client,
            quic_logger=self._quic_logger,
            send_probe=self._send_probe,
            logger=self._logger,
        )

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
    def peer_certificate_der(self) -> bytes | None:
        """Client: the certificate the server showed, from `HandshakeCompleted` on; to pin it by its fingerprint."""
        certificate = self.tls._peer_certificate
        return None if certificate is None else certificate.public_bytes(Encoding.DER)

    def close(
        self, error_code: int = QuicErrorCode.NO_ERROR, frame_type: int | None = None, reason_phrase: str = ""
    ) -> None:
        if not self.is_ended:
            self._has_found_fault = error_code not in (QuicErrorCode.NO_ERROR, H3_NO_ERROR)
        super().close(error_code, frame_type, reason_phrase[:MAX_REASON_CHARACTERS])

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        if self._state not in END_STATES and self._is_stateless_reset(data):
            self._close_event = events.ConnectionTerminated(
                error_code=QuicErrorCode.NO_ERROR, frame_type=None, reason_phrase="stateless reset"
            )
            self._events.append(PeerClosed(QuicErrorCode.NO_ERROR, "stateless reset", is_stateless_reset=True))
            self._close_end()
            return
        if len(data) > MAX_UDP_PAYLOAD_BYTES or not (self._is_client or self._workload.admits_packet(now)):
            self.packets_ignored += 1
            return
        before = self._network_paths[0] if self._network_paths else None
        super().receive_datagram(data, addr, now)
        self._workload.units += EVENT_UNITS * len(self._events) + self._budget.steps + len(self._streams_queue) // 4
        self._budget.steps = 0
        if not self._network_paths:
            return
        self._path_followed(before)
        if before is not None and self._network_paths[0] is not before:
            self._workload.units += _MIGRATION_UNITS
        space = self._spaces.get(tls.Epoch.ONE_RTT)
        if space is not None and space.ack_at is not None and len(space.ack_queue) > 1:
            space.ack_at = min(space.ack_at, now)  # a gap is reported at once (RFC 9000 section 13.2.1)

    def charge(self, units: int) -> None:
        """Count work that the peer's last datagram made above QUIC, in `Workload` units."""
        self._workload.units += units

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        if not self._network_paths:
            return []
        if self._has_nothing_to_send(now):
            self._pacing_at = None
            return []
        self._let_acknowledgement_ride(now)
        return super().datagrams_to_send(now)

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        if self._is_client:
            # each group costs a key before the first packet, and every server has P-256 (RFC 8446 section 9.1)
            self.tls._supported_groups = [tls.Group.SECP256R1, tls.Group.X25519]
        else:
            RetryingContext.adopt(self.tls)
        for stream in self._crypto_streams.values():
            stream.receiver = CryptoReceiver(self._crypto_window)  # type: ignore[assignment]  # what CRYPTO needs of it

    # What a peer's frames may cost

    def _handle_crypto_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        is_hello_over = not self._is_client and self.tls.state is not tls.State.SERVER_EXPECT_CLIENT_HELLO
        offset = self._crypto_streams[context.epoch].receiver.starting_offset()
        try:
            super()._handle_crypto_frame(context, frame_type, buf)
        except CryptoOverflowError as overflow:
            raise self._crypto_overflow(frame_type) from overflow
        if len(self.tls._receive_buffer) > self._crypto_window:
            raise self._crypto_overflow(frame_type)
        is_more = self._crypto_streams[context.epoch].receiver.starting_offset() > offset
        if is_more and is_hello_over and context.epoch is tls.Epoch.INITIAL:  # RFC 9001 section 4.1.3
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION, frame_type, "CRYPTO data of an earlier encryption level"
            )

    def _crypto_overflow(self, frame_type: int) -> QuicConnectionError:
        return QuicConnectionError(
            QuicErrorCode.CRYPTO_BUFFER_EXCEEDED,
            frame_type,
            f"more than {self._crypto_window} bytes of CRYPTO data that TLS cannot take yet",
        )

    def _handle_ack_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        if context is not self._ack_context:
            self._ack_context, self._ack_frames = context, 0
        self._ack_frames += 1
        if self._ack_frames > MAX_ACK_FRAMES_PER_PACKET:
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION,
                frame_type,
                f"more than {MAX_ACK_FRAMES_PER_PACKET} ACK frames in a packet",
            )
        start = buf.tell()
        largest, _, ranges = buf.pull_uint_var(), buf.pull_uint_var(), buf.pull_uint_var()
        buf.seek(start)
        if largest > self._loss.largest_sent.get(context.epoch, -1):
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION, frame_type, f"packet {largest} was acknowledged, but never sent"
            )
        self._workload.units += min(ranges, MAX_UDP_PAYLOAD_BYTES)
        super()._handle_ack_frame(context, frame_type, buf)

    def _handle_datagram_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        super()._handle_datagram_frame(context, frame_type, buf)
        if not self._workload.admits_datagram_frame(context.time):
            self._events.pop()
            self.datagram_frames_ignored += 1

    def _handle_padding_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        """As aioquic's, but not byte for byte."""
        start = buf.tell()
        rest = buf.data_slice(start, buf.capacity)
        buf.seek(start + len(rest) - len(rest.lstrip(b"\0")))
        if self._quic_logger is not None and context.quic_logger_frames is not None:
            context.quic_logger_frames.append(self._quic_logger.encode_padding_frame())

    def _write_ack_frame(self, builder: QuicPacketBuilder, space: QuicPacketSpace, now: float) -> None:
        super()._write_ack_frame(builder, space, now)
        if self._loss.acks_unanswered >= ACKS_BEFORE_PING and space.is_application_data:
            with suppress(QuicPacketBuilderStop):
                self._write_ping_frame(builder, comment="ACK-of-ACK trigger")

    def _let_acknowledgement_ride(self, now: float) -> None:
        """An ACK that would be due later costs less in a packet that is sent now (RFC 9000 section 13.2.1)."""
        space = self._spaces.get(tls.Epoch.ONE_RTT)
        if self._handshake_confirmed and space is not None and space.ack_at is not None:
            space.ack_at = min(space.ack_at, now)

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
            or self._remote_preferred_address is not None
            or not self._crypto_streams[tls.Epoch.ONE_RTT].sender.buffer_is_empty
        ):
            return False
        ack_at = self._spaces[tls.Epoch.ONE_RTT].ack_at
        if ack_at is not None and ack_at <= now:
            return False
        return (
            all(each.was_sent for each in self._host_cids)
            and not self._has_path_to_validate()
            and not self._has_limit_to_raise()
            and all(self._is_idle(stream) for stream in self._streams_queue)
        )

    def _close_begin(self, is_initiator: bool, now: float) -> None:
        super()._close_begin(is_initiator, now)
        if not is_initiator and self._close_event is not None:
            self._events.append(PeerClosed(self._close_event.error_code, self._close_event.reason_phrase))
