"""The one subclass of aioquic's connection: every override and private name of it, delegating to parts.

A part (`parts/`, `limits/`, `handshake/`) owns its state and is called by name with what it needs. Another release of
aioquic may rename any private name, so the version is checked on import; tests/unit/voicelink/quic holds one test for
each gap that is closed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sized
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any, Final

import aioquic
import aioquic.quic.connection
from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.buffer import size_uint_var
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import (
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
    QuicHeader,
)
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder, QuicPacketBuilderStop
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream
from cryptography.hazmat.primitives.serialization import Encoding

from voicelink.quic.cid_source import CidSource
from voicelink.quic.events import (
    ConnectionIdIssued,
    ConnectionIdRetired,
    ConnectionTerminated,
    HandshakeCompleted,
    PathFailed,
    PathValidated,
    PeerClosed,
    PreferredAddressOffered,
    ProtocolNegotiated,
    QuicEvent,
    ServerMoved,
)
from voicelink.quic.fast_path.fast_path import FastPath
from voicelink.quic.fast_path.parts import Parts
from voicelink.quic.fast_path.steady_state import SteadyState
from voicelink.quic.handshake import blocks, hkdf, server_start
from voicelink.quic.handshake.initial_keys import InitialKeys
from voicelink.quic.handshake.key_callbacks import drop_key_logs, drop_tls_callbacks
from voicelink.quic.handshake.own_parameters import MAX_UDP_PAYLOAD_BYTES, own_parameters
from voicelink.quic.handshake.transport_parameters import DISABLE_ACTIVE_MIGRATION, pull_transport_parameters
from voicelink.quic.limits.crypto_buffer import (
    CLIENT_WINDOW_BYTES,
    SERVER_WINDOW_BYTES,
    CryptoOverflowError,
    CryptoReceiver,
)
from voicelink.quic.limits.reassembly import ReassemblyOverflowError
from voicelink.quic.limits.received_numbers import ReceivedNumbers
from voicelink.quic.limits.recovery import BoundedRecovery
from voicelink.quic.limits.workload import EVENT_UNITS, FrameHandlers, FrameTable, SharedLoad, Workload
from voicelink.quic.options import ConnectionOptions, PreferredAddress
from voicelink.quic.parts.ack_policy import (
    ACK_FREQUENCY,
    FREQUENCY_CAPACITY,
    IMMEDIATE_ACK,
    AckFrequency,
    AckPolicy,
    AckRequest,
)
from voicelink.quic.parts.connection_ids import ConnectionIds, latest_numbers
from voicelink.quic.parts.flow_control import ReceiveWindows
from voicelink.quic.parts.minimum_window import MinimumWindow
from voicelink.quic.parts.paths import Paths, is_another_path, within_amplification_limit
from voicelink.quic.parts.received_acks import ReceivedAcks
from voicelink.quic.parts.reset_stream_at import FRAME_CAPACITY, RESET_STREAM_AT, PartialSender, ResetStreamAt
from voicelink.quic.parts.resumption import (
    Resumption,
    early_packets,
    push_token,
    report_lost,
    token_capacity,
)
from voicelink.quic.qlog import Qlog, qlog_logger
from voicelink.quic.start import FirstInitial, ResumptionCallbacks

AIOQUIC_VERSION: Final = "1.7.2"
if aioquic.__version__ != AIOQUIC_VERSION:
    raise ImportError(f"aioquic is {aioquic.__version__}, this package is written against {AIOQUIC_VERSION}")

# A malformed packet is worth a counter, not a line: a flood of them would fill the disk.
_log = logging.getLogger("quic")
_log.setLevel(logging.ERROR)

# aioquic makes 36 sets of encryption levels for each connection, of which four differ: 8 KB, and much of a handshake.
aioquic.quic.connection.EPOCHS = EPOCHS = cache(aioquic.quic.connection.EPOCHS)

# Where most of a handshake's CPU went beside the cryptography itself.
hkdf.install()
blocks.install()
# An `Enum` computes the hash of its name in Python, and each look-up of an encryption level asks for it.
tls.Epoch.__hash__ = object.__hash__  # type: ignore[method-assign]

H3_NO_ERROR: Final = 0x100
NO_STREAM: Final = -1
"""Stands for a stream that is never opened: what is sent on it is dropped."""
MAX_REASON_CHARACTERS: Final = 200  # a reason that does not fit the packet would keep the close from being sent
MAX_PEER_CIDS: Final = 4
"""How many connection IDs a peer may give this side at a time: one in use, and three for paths to come, each of which
the peer replaces. aioquic's 8 cost a peer that gives all of them, and this side, as many frames more."""
_MIGRATION_UNITS: Final = 200
_SHORT_HEADER_OVERHEAD: Final = 1 + 2 + 16  # first byte, packet number, AEAD tag
# `sent + delay - delay` may come out above `sent`: aioquic finds a loss only a little after its own deadline.
_TIMER_SLACK_S: Final = 1e-6
_OURS: Final[dict[type[QuicEvent], Callable[[Any], QuicEvent]]] = {
    events.ConnectionIdIssued: lambda event: ConnectionIdIssued(event.connection_id),
    events.ConnectionIdRetired: lambda event: ConnectionIdRetired(event.connection_id),
    events.ConnectionTerminated: lambda event: ConnectionTerminated(
        event.error_code, event.frame_type, event.reason_phrase
    ),
    events.HandshakeCompleted: lambda event: HandshakeCompleted(
        event.alpn_protocol, event.early_data_accepted, event.session_resumed
    ),
    events.ProtocolNegotiated: lambda event: ProtocolNegotiated(event.alpn_protocol),
}
"""Our event for each of aioquic's that concerns the connection."""
_FRAME_HANDLERS: Final = "_QuicConnection__frame_handlers"
_MORE_FRAME_HANDLERS: Final[FrameHandlers] = {
    RESET_STREAM_AT: ("_handle_reset_stream_at_frame", EPOCHS("01")),
    ACK_FREQUENCY: ("_handle_ack_frequency_frame", EPOCHS("1")),
    IMMEDIATE_ACK: ("_handle_immediate_ack_frame", EPOCHS("1")),
}
_frame_handlers: dict[int, tuple[str, AbstractSet[tls.Epoch]]] = {}
"""aioquic's, as the first connection has them, and ours."""


class Connection(QuicConnection):
    """One QUIC connection, sans-IO: drive it by datagrams, timers and `next_event`, as aioquic's own.

    `cids` issues this side's connection IDs, of the length that `configuration.connection_id_length` says.
    `shared_load` counts the work of all connections of one endpoint.
    `first_initial` is a server's, of the packet that it begins with.
    `qlog` is where the log of this one connection goes.
    """

    def __init__(
        self,
        *,
        configuration: QuicConfiguration,
        cids: CidSource,
        options: ConnectionOptions | None = None,
        first_initial: FirstInitial | None = None,
        resumption: ResumptionCallbacks | None = None,
        preferred_address: PreferredAddress | None = None,
        shared_load: SharedLoad | None = None,
        qlog: Qlog | None = None,
    ) -> None:
        resumption = resumption or ResumptionCallbacks()
        if qlog is not None:
            configuration = replace(configuration, quic_logger=qlog_logger(qlog))
        self._ids = ConnectionIds(
            cids,
            configuration.connection_id_length,
            is_client=configuration.is_client,
            preferred_address=preferred_address,
        )
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=None if first_initial is None else first_initial.destination_cid,
            retry_source_connection_id=None if first_initial is None else first_initial.retry_source_cid,
            session_ticket_fetcher=resumption.open_session,
            session_ticket_handler=resumption.ticket_received,
            token_handler=resumption.token_received,
        )
        # aioquic has an adapter of it for each connection, which doubles the cost of a line that is not written
        self._logger = _log  # type: ignore[assignment]  # logs as the adapter does, without the connection ID
        self._initial_keys = None if first_initial is None else first_initial.keys
        self.options = options = options or ConnectionOptions()
        self.datagrams_dropped = 0
        """DATAGRAM frames that were too large, or waited too long."""
        self.waiting_events: Sized = self._events
        """What `next_event` has to return yet."""
        self.stream_sinks: dict[int, Callable[[bytes], None]] = {}
        """Who takes what arrives on a stream, but for its end, in place of events; see `Driver`."""
        self.packets_ignored = 0
        """Datagrams dropped unread for the work that the peer's earlier ones made, or their size."""
        self._has_found_fault = False
        self._is_over = False
        """Whether the connection is in one of `END_STATES`."""

        frequency = AckFrequency(options.ack_packets, options.ack_delay_s)
        self._acks = AckPolicy(frequency)
        self._ack_request = AckRequest(frequency)
        self._minimum_window = MinimumWindow()
        self._paths = Paths()
        self._steady = SteadyState()
        self._partial_resets = ResetStreamAt()
        self._resumption = Resumption(resumption.seal_session)
        self._windows = ReceiveWindows(configuration.max_data, configuration.max_stream_data)
        self.workload = Workload(
            options.max_packets_per_s, options.max_datagram_frames_per_s, shared_load, options.busy_packets_per_s
        )
        """What the peer's datagrams cost, and how many DATAGRAM frames were ignored for that."""

        self._local_active_connection_id_limit = MAX_PEER_CIDS
        self._host_cids = self._ids.active
        self.host_cid = self._local_initial_source_connection_id = self._host_cids[0].cid
        for limit in (self._local_max_streams_bidi, self._local_max_streams_uni):
            limit.value = limit.sent = options.max_streams
        self._crypto_window = CLIENT_WINDOW_BYTES if self._is_client else SERVER_WINDOW_BYTES
        self._loss: BoundedRecovery = BoundedRecovery(
            congestion_control_algorithm=configuration.congestion_control_algorithm,
            initial_rtt=configuration.initial_rtt,
            max_datagram_size=self._max_datagram_size,
            peer_completed_address_validation=not self._is_client,
            quic_logger=self._quic_logger,
            send_probe=self._send_probe,
            logger=self._logger,
            on_lost=self._steady.end,
        )
        self._received_acks = ReceivedAcks(self._loss, self.workload, self._paths, self._minimum_window)
        parts = Parts(
            self._loss,
            self.workload,
            self._windows,
            self._paths,
            self._received_acks,
            self._ack_request,
            self._resumption,
        )
        self._fast_path = FastPath(self, self._steady, parts, is_allowed=options.has_fast_path)
        if not _frame_handlers:
            handlers = vars(self)[_FRAME_HANDLERS]
            _frame_handlers.update({each: (method.__name__, epochs) for each, (method, epochs) in handlers.items()})
            _frame_handlers.update(_MORE_FRAME_HANDLERS)
        vars(self)[_FRAME_HANDLERS] = FrameTable(self, _frame_handlers, self.workload)

    def start_qlog(self, qlog: Qlog) -> bool:
        """Log what happens from now on, without the fast path; false where this connection has a log already."""
        if self._quic_logger is not None or self._is_over:
            return False
        logger = qlog_logger(qlog)
        self._configuration = replace(self._configuration, quic_logger=logger)
        trace = logger.start_trace(is_client=self._is_client, odcid=self.original_destination_connection_id)
        self._quic_logger = self._loss._quic_logger = trace
        self._steady.end()
        return True

    def stop_qlog(self) -> None:
        """Finish the log, if there is one."""
        trace, self._quic_logger, self._loss._quic_logger = self._quic_logger, None, None
        self._steady.end()
        if trace is not None and self._configuration.quic_logger is not None:
            self._configuration.quic_logger.end_trace(trace)

    # State

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
        return self._close_event is not None or self._is_over

    @property
    def is_resumed(self) -> bool:
        """Whether the handshake goes on from an earlier connection, which proved who the server is."""
        return self.tls.session_resumed

    @property
    def has_early_data(self) -> bool:
        """Whether the server accepted the client's early data."""
        return self.tls.early_data_accepted

    @property
    def has_early_keys(self) -> bool:
        """Client, after `connect`: whether what is sent now goes out in 0-RTT packets."""
        return self._cryptos[tls.Epoch.ZERO_RTT].send.is_valid()

    @property
    def peer_certificate_der(self) -> bytes | None:
        """Client: the certificate the server showed, from `HandshakeCompleted` on; to pin it by its fingerprint."""
        certificate = self.tls._peer_certificate
        return None if certificate is None else certificate.public_bytes(Encoding.DER)

    @property
    def host_cids(self) -> list[bytes]:
        """The connection IDs by which the peer may call this connection now."""
        return [each.cid for each in self._host_cids]

    @property
    def probe_timeout_s(self) -> float:
        """The present probe timeout (RFC 9002 section 6.2.1), the unit of draining and CID retirement."""
        return self._loss.get_probe_timeout()

    @property
    def largest_acknowledged(self) -> int | None:
        """The largest 1-RTT packet number the peer has acknowledged."""
        space = self._space
        return None if space is None else space.largest_acked_packet or None

    @property
    def has_unacknowledged(self) -> bool:
        """Whether a 1-RTT packet that the peer must acknowledge has not been, and is not given up for lost."""
        space = self._space
        return space is not None and space.ack_eliciting_in_flight > 0

    @property
    def _space(self) -> QuicPacketSpace | None:
        """The 1-RTT packet number space, without the hash of a key; `None` before the first packet."""
        spaces = self._loss.spaces
        return spaces[-1] if spaces else None

    # Datagrams, timers and the end

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        receiver = self._fast_path.receiver if self._steady.holds else None
        if receiver is not None and not receiver.is_for_path(data, addr):
            receiver = None
        if receiver is None and not self._is_over and self._ids.is_stateless_reset(data, self._peer_cids_in_use()):
            self._reset_by_peer()
            return
        workload = self.workload
        if len(data) > MAX_UDP_PAYLOAD_BYTES or not (self._is_client or workload.admits_packet(now)):
            self.packets_ignored += 1
            return
        spaces = self._loss.spaces
        former_largest, ack_due_at = -1, None
        if spaces:
            space = spaces[-1]
            former_largest, ack_due_at, space.ack_at = space.largest_received_packet, space.ack_at, None
        if receiver is None or not receiver.take(data, now):
            self._steady.end()
            before = self._network_paths[0] if self._network_paths else None
            super().receive_datagram(data, addr, now)
            if self._network_paths:
                self._follow_path(before)
            spaces = self._loss.spaces  # others once the first packet was read
        budget = self._windows.budget
        workload.units += EVENT_UNITS * len(self._events) + budget.steps + len(self._streams_queue) // 4
        budget.steps = 0
        if spaces:
            self._acks.on_datagram_received(spaces[-1], former_largest, ack_due_at, now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        if not self._network_paths:
            return []
        fast_path = self._fast_path
        if not self._steady.holds or fast_path.sender is None:
            fast_path.look()
        if self._steady.holds and not fast_path.is_sending_due(now):
            self._pacing_at = None
            return []
        if self._handshake_confirmed:
            self._acks.on_sending(self._loss.spaces[-1], now)
        allowed = self._minimum_window.allowed_bytes(self._next_datagram_bytes(), now)
        if allowed:
            window = self._loss.open_window(max(allowed, self._max_datagram_size))
            try:
                datagrams = self._built_datagrams(now)
            finally:
                self._loss.restore_window(window)
        else:
            datagrams = self._built_datagrams(now)
        self._minimum_window.on_sent(datagrams, now)
        return datagrams

    def is_sending_due(self, now: float) -> bool:
        """Whether `datagrams_to_send` may have anything to send; where not, only the timer may have moved."""
        fast_path = self._fast_path
        return not self._steady.holds or fast_path.sender is None or fast_path.is_sending_due(now)

    def get_timer(self) -> float | None:
        is_fast = self._steady.holds and self._fast_path.sender is not None
        timer_at = self._fast_path.timer() if is_fast else super().get_timer()
        if timer_at is None:
            return None
        if self._paths.deadline is not None and not self._is_over:
            timer_at = min(timer_at, self._paths.deadline)
        if not self._datagrams_pending:
            return timer_at
        return self._minimum_window.timer(self._next_datagram_bytes(), timer_at)

    def handle_timer(self, now: float) -> None:
        if self._state is QuicConnectionState.TERMINATED or self._close_at is None:
            return
        super().handle_timer(now + _TIMER_SLACK_S)
        if self._paths.deadline is not None and now >= self._paths.deadline:
            self._paths.end_validation()
            self._events.append(PathFailed(self._network_paths[0].addr))

    def next_event(self) -> QuicEvent | None:
        """Return the oldest event of `voicelink.quic.events` that was not taken yet."""
        if not self._events:
            return None
        event = self._events.popleft()
        translate = _OURS.get(type(event))
        return event if translate is None else translate(event)

    def charge(self, units: int) -> None:
        """Count work that the peer's last datagram made above QUIC, in `Workload` units."""
        self.workload.units += units

    def close(
        self, error_code: int = QuicErrorCode.NO_ERROR, frame_type: int | None = None, reason_phrase: str = ""
    ) -> None:
        self._steady.end()
        self.stream_sinks.clear()
        if not self.is_ended:
            self._has_found_fault = error_code not in (QuicErrorCode.NO_ERROR, H3_NO_ERROR)
        super().close(error_code, frame_type, reason_phrase[:MAX_REASON_CHARACTERS])

    def release(self) -> None:
        """Let go of a connection that will neither receive, send nor be timed again.

        aioquic's connection refers to itself by some sixty bound methods. Under a flood of connections the cyclic
        garbage collector would have thousands of objects to find at once, which stalls the event loop, and until then
        their memory is held.
        """
        vars(self)[_FRAME_HANDLERS] = {}
        self._fast_path.release()
        self.stream_sinks.clear()
        self._loss.release()
        self.stop_qlog()  # one of a connection that ended without a close
        context = getattr(self, "tls", None)
        if context is None:  # before the first packet
            return
        drop_tls_callbacks(context)
        drop_key_logs(*self._cryptos.values(), *self._cryptos_initial.values())

    def _reset_by_peer(self) -> None:
        self._close_event = events.ConnectionTerminated(
            error_code=QuicErrorCode.NO_ERROR, frame_type=None, reason_phrase="stateless reset"
        )
        self._events.append(PeerClosed(QuicErrorCode.NO_ERROR, "stateless reset", is_stateless_reset=True))
        self._close_end()

    def _built_datagrams(self, now: float) -> list[tuple[bytes, Any]]:
        fast_path = self._fast_path
        if self._steady.holds and fast_path.sender is not None:
            built = fast_path.sender.datagrams(now)
            if built is not None:
                return built
        path = self._network_paths[0]
        is_close_limited = self._close_pending and not path.is_validated
        datagrams = super().datagrams_to_send(now) if self._peer_cid.cid else self._built_without_peer_cids(now)
        fast_path.look()
        if self._steady.holds and not fast_path.is_sending_due(now):
            self._pacing_at = None  # aioquic paces the next packet before it knows that there is none
        return within_amplification_limit(datagrams, path) if is_close_limited else datagrams

    def _built_without_peer_cids(self, now: float) -> list[tuple[bytes, Any]]:
        # A peer with a zero-length connection ID never gives a spare one for a probed path, and needs none.
        others = self._network_paths[1:]
        for path in others:
            path.peer_cid = self._peer_cid
        try:
            return super().datagrams_to_send(now)
        finally:
            for path in others:
                path.peer_cid = None

    # What ends steadiness

    def _set_state(self, state: QuicConnectionState) -> None:
        self._steady.end()
        self._is_over = state in END_STATES
        super()._set_state(state)

    def _send_probe(self) -> None:
        self._steady.end()
        super()._send_probe()

    def request_key_update(self) -> None:
        self._steady.end()
        super().request_key_update()

    def change_connection_id(self) -> None:
        self._steady.end()
        super().change_connection_id()

    def send_ping(self, uid: int) -> None:
        self._steady.end()
        super().send_ping(uid)

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        self._steady.end()
        super().reset_stream(stream_id, error_code)

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        self._steady.end()
        super().stop_stream(stream_id, error_code)

    def _close_begin(self, is_initiator: bool, now: float) -> None:
        super()._close_begin(is_initiator, now)
        if not is_initiator and self._close_event is not None:
            self._events.append(PeerClosed(self._close_event.error_code, self._close_event.reason_phrase))

    # Handshake and transport parameters

    def prove_address(self) -> None:
        """Server: the client's address is known to be its own, from a token (RFC 9000 section 8.1)."""
        if self._network_paths:
            self._network_paths[0].is_validated = True

    def send_new_token(self, token: bytes) -> None:
        """Server: queue a NEW_TOKEN frame, by which the client skips address validation next time."""
        self._steady.end()
        self._resumption.add_token(token)

    def _initialize(self, peer_cid: bytes) -> None:
        if self._is_client:
            super()._initialize(peer_cid)
            # each group costs a key before the first packet, and every server has P-256 (RFC 8446 section 9.1)
            self.tls._supported_groups = [tls.Group.SECP256R1, tls.Group.X25519]
            if self._quic_logger is None:
                drop_key_logs(self._cryptos[tls.Epoch.ZERO_RTT], self._cryptos[tls.Epoch.HANDSHAKE])
        else:
            server_start.begin(self, peer_cid, self._initial_keys)
            self._initial_keys = None
        for space in self._spaces.values():
            space.received_packets = ReceivedNumbers()  # type: ignore[assignment]  # answers as aioquic's
        for stream in self._crypto_streams.values():
            stream.receiver = CryptoReceiver(self._crypto_window)  # type: ignore[assignment]  # what CRYPTO needs of it

    def _discard_epoch(self, epoch: tls.Epoch) -> None:
        if epoch is tls.Epoch.INITIAL and isinstance(self._cryptos_initial, InitialKeys):
            self._cryptos_initial.freeze()
        super()._discard_epoch(epoch)

    def _push_crypto_data(self) -> None:
        super()._push_crypto_data()
        if not self._is_client and self.tls.state is not tls.State.SERVER_EXPECT_CLIENT_HELLO:
            # a server writes its Handshake messages at once; 16 KB would be held for as long as the client takes
            self._crypto_buffers[tls.Epoch.HANDSHAKE] = Buffer(capacity=1)

    def _confirm_handshake(self) -> None:
        super()._confirm_handshake()
        self._crypto_buffers = {epoch: Buffer(capacity=1) for epoch in self._crypto_buffers}  # TLS writes no more
        context = self.tls
        context._ec_private_keys, context._x25519_private_key, context._x448_private_key = [], None, None

    def _handle_crypto_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        was_complete = self._handshake_complete
        is_hello_over = not self._is_client and self.tls.state is not tls.State.SERVER_EXPECT_CLIENT_HELLO
        offset = self._crypto_streams[context.epoch].receiver.starting_offset()
        try:
            super()._handle_crypto_frame(context, frame_type, buf)
        except CryptoOverflowError as overflow:
            raise self._crypto_overflow(frame_type) from overflow
        if self._handshake_complete and not was_complete:
            self._finish_handshake(context.time)
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

    def _finish_handshake(self, now: float) -> None:
        if not self._is_client:
            schedule = self.tls.key_schedule
            if self.tls._psk_key_exchange_mode is not None and schedule is not None:
                for message in self._resumption.tickets(schedule):
                    self._crypto_streams[tls.Epoch.ONE_RTT].sender.write(message)
        elif not self.tls.early_data_accepted:
            space = self._spaces[tls.Epoch.ONE_RTT]
            self._loss.give_up(early_packets(space.sent_packets.values()), space, now)

    def _receive_retry_packet(self, header: QuicHeader, packet_without_tag: bytes, now: float) -> None:
        retries, spaces = self._retry_count, self._spaces
        super()._receive_retry_packet(header, packet_without_tag, now)
        if self._retry_count == retries:
            return
        # the packet number spaces were made anew, and with the old ones went what is owed to the streams
        packets = [packet for space in spaces.values() for packet in space.sent_packets.values()]
        for packet in packets:
            self._loss.expire(packet)
        report_lost(early_packets(packets))

    def _serialize_transport_parameters(self) -> bytes:
        if self._quic_logger is not None:
            super()._serialize_transport_parameters()  # logs what aioquic knows of them
        return (
            own_parameters(self)
            + self._acks.transport_parameters()
            + self._partial_resets.transport_parameters()
            + self._ids.transport_parameters()
        )

    def _parse_transport_parameters(self, data: bytes, from_session_ticket: bool = False) -> None:
        super()._parse_transport_parameters(data, from_session_ticket)
        if not from_session_ticket:
            parameters = pull_transport_parameters(data)
            self._partial_resets.on_transport_parameters(parameters)
            self._ack_request.on_transport_parameters(parameters)
            self._paths.is_migration_forbidden = DISABLE_ACTIVE_MIGRATION in parameters

    # Connection IDs

    def rotate_cids(self, cids: CidSource) -> None:
        """Issue from `cids` from now on, and have the peer retire every connection ID issued so far."""
        self._steady.end()
        self._ids.rotate(cids)
        if self._handshake_complete:
            self._replenish_connection_ids()

    def _peer_cids_in_use(self) -> list[QuicConnectionId]:
        return [self._peer_cid, *(path.peer_cid for path in self._network_paths if path.peer_cid is not None)]

    def _replenish_connection_ids(self) -> None:
        self._ids.replenish(self._remote_active_connection_id_limit)

    def _write_new_connection_id_frame(self, builder: QuicPacketBuilder, connection_id: QuicConnectionId) -> None:
        buf = builder.start_frame(
            QuicFrameType.NEW_CONNECTION_ID,
            capacity=NEW_CONNECTION_ID_FRAME_CAPACITY,
            handler=self._on_new_connection_id_delivery,
            handler_args=(connection_id,),
        )
        self._ids.push_new_connection_id(buf, connection_id)
        self._events.append(events.ConnectionIdIssued(connection_id=connection_id.cid))

    def _handle_retire_connection_id_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        start = buf.tell()
        self._ids.on_retire_frame(buf.pull_uint_var(), frame_type, context.time)
        buf.seek(start)
        self._host_cid_seq = self._ids.issued_count
        super()._handle_retire_connection_id_frame(context, frame_type, buf)

    def _handle_new_connection_id_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        super()._handle_new_connection_id_frame(context, frame_type, buf)
        kept = latest_numbers(self._peer_cid_sequence_numbers)
        if kept is not None:
            self._peer_retire_prior_to = max(self._peer_retire_prior_to, kept[0])
            self._peer_cid_sequence_numbers = set(kept)

    def _consume_peer_cid(self) -> None:
        if not self._peer_cid_available:
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION,
                QuicFrameType.NEW_CONNECTION_ID,
                "every connection ID was retired and none given in their place",
            )
        super()._consume_peer_cid()

    # Paths

    @property
    def can_migrate(self) -> bool:
        """Client: whether `begin_migration` would succeed now."""
        return (
            self._is_client
            and self._handshake_confirmed
            and self._paths.allows_migration
            and bool(self._peer_cid_available)
            and not self.is_ended
        )

    def probe(self) -> None:
        """Ask the peer for an acknowledgement, as a probe timeout does (RFC 9002 section 6.2.4); transmit at once."""
        self._steady.end()
        self._probe_pending = True

    def begin_migration(self, now: float) -> bool:
        """Client: go on from a new local address, with a fresh connection ID and a challenge to the server.

        Send through the new socket from here on, transmit at once, and keep reading the old socket for a second.
        `PathValidated` or `PathFailed` follows. Returns False, and changes nothing, unless `can_migrate`.
        """
        if not self.can_migrate:
            return False
        self._steady.end()
        self.change_connection_id()
        self._network_paths[0].local_challenges.clear()
        self._paths.begin_validation(now + 3 * max(self.probe_timeout_s, 2 * self._configuration.initial_rtt))
        self._begin_path()
        return True

    def probe_preferred_address(self, address: Any) -> bool:
        """Client: see whether the server answers at its preferred address, and go there if it does.

        Transmit at once; datagrams for `address` are to leave through a socket of their own. `ServerMoved` follows, or
        `PathFailed`. Returns False, and does nothing, without a connection ID for that path.
        """
        if self.is_ended or not self._peer_cid_available:
            return False
        self._steady.end()
        # that of the transport parameter, unless it was used up meanwhile
        spare = min(self._peer_cid_available, key=lambda each: each.sequence_number or 0)
        self._peer_cid_available.remove(spare)
        path = QuicNetworkPath(address)
        path.peer_cid = spare
        self._add_network_path(path)
        return True

    def _follow_path(self, before: QuicNetworkPath | None) -> None:
        """A datagram was received while `before` was the active path: see whether another is now."""
        path = self._network_paths[0]
        if before is not None and path is not before:
            self.workload.units += _MIGRATION_UNITS
            self._acks.hurry()
            if is_another_path(before, path):
                self._begin_path()
        if not self._is_client:
            moved = self._paths.on_active_path(path)
            if moved is not None:
                self._events.append(moved)

    def _begin_path(self) -> None:
        self._loss.begin_path(self._configuration.congestion_control_algorithm, self._max_datagram_size)
        self._paths.begin_measuring(self._packet_number)

    def _handle_path_response_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        data = buf.data_slice(buf.tell(), min(buf.tell() + 8, buf.capacity))
        path = self._network_paths[0]
        is_answer = self._paths.deadline is not None and data in path.local_challenges
        super()._handle_path_response_frame(context, frame_type, buf)
        if self._is_client and self._network_paths[0] is not path:
            self._paths.is_at_preferred_address = True
            self._begin_path()
            self._events.append(ServerMoved(self._network_paths[0].addr))
        if is_answer:
            self._paths.end_validation()
            self._events.append(PathValidated(path.addr))

    def _probe_preferred_address(self) -> None:
        """Leave it to the client, which needs a socket first."""
        address = self._find_preferred_address()
        self._remote_preferred_address = None
        if address is not None:
            self._events.append(PreferredAddressOffered(address))

    def _on_path_challenge_delivery(self, delivery: QuicDeliveryState, network_path: QuicNetworkPath) -> None:
        if network_path is self._network_paths[0]:
            self._paths.on_challenge_delivery(network_path)
        elif (
            self._is_client
            and network_path.peer_cid is not None
            and network_path in self._network_paths
            and self._paths.on_probe_delivery(delivery, network_path)
        ):
            self._network_paths.remove(network_path)
            self._retire_peer_cid(network_path.peer_cid)
            self._events.append(PathFailed(network_path.addr))

    # Streams, DATAGRAM frames and their limits

    @property
    def peer_takes_partial_resets(self) -> bool:
        """Whether the peer has announced that it understands RESET_STREAM_AT."""
        return self._partial_resets.is_supported_by_peer

    def is_receiving(self, stream_id: int) -> bool:
        """Whether the peer may still send on the stream, so that `stop_stream` makes sense."""
        stream = self._streams.get(stream_id)
        return stream is not None and not stream.receiver.is_finished

    def is_delivered(self, stream_id: int) -> bool:
        """Whether all that was sent on a stream, its end included, has been acknowledged, or it was reset."""
        stream = self._streams.get(stream_id)
        return stream is None or stream.sender.is_finished

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """As aioquic's, but a stream that the peer stopped meanwhile swallows what is sent instead of raising."""
        stream = self._streams.get(stream_id)
        if stream is None:
            if stream_id == NO_STREAM:
                return
            if self._stream_can_send(stream_id) and self._stream_is_discarded(stream_id):
                return
        elif stream.sender._reset_error_code is not None:
            return
        self._get_or_create_stream_for_send(stream_id).sender.write(data, end_stream)
        if data or end_stream:
            self._steady.has_stream_data = True

    def reset_stream_at(self, stream_id: int, error_code: int, reliable_size: int) -> None:
        """Reset a stream, and deliver its first `reliable_size` bytes all the same, as far as they were written.

        A plain reset where the peer cannot do that. Without effect on a stream that was reset before.
        """
        stream = self._streams.get(stream_id)
        if stream is None or not self.peer_takes_partial_resets:
            self.reset_stream(stream_id, error_code)
        else:
            self._steady.end()
            self._partial_resets.reset(stream, error_code, reliable_size)

    @property
    def queued_datagrams(self) -> int:
        """How many DATAGRAM frames wait to be sent."""
        return len(self._datagrams_pending)

    @property
    def max_datagram_bytes(self) -> int:
        """The largest payload that a DATAGRAM frame to this peer can hold now; 0 where the peer takes none."""
        room = self._max_datagram_size - _SHORT_HEADER_OVERHEAD - len(self._peer_cid.cid)
        return max(0, min(room, self._remote_max_datagram_frame_size or 0) - 1 - size_uint_var(room))

    @property
    def unread_bytes(self) -> int:
        """What the application took, and has not read yet: connection flow control holds so much back."""
        return self._windows.unread_bytes

    @unread_bytes.setter
    def unread_bytes(self, byte_count: int) -> None:
        self._windows.unread_bytes = byte_count
        if self._windows.is_connection_raise_due(self._local_max_data):
            self._steady.end()

    def offer_datagram(self, data: bytes) -> bool:
        """Queue a DATAGRAM frame; returns False, and drops it, if the peer or the path cannot take one so large.

        One that never fits would block all later ones, and behind a closed congestion window old ones only get older.
        """
        if len(data) > self.max_datagram_bytes:
            self.datagrams_dropped += 1
            return False
        if len(self._datagrams_pending) >= self.options.max_queued_datagrams:
            self._datagrams_pending.popleft()
            self.datagrams_dropped += 1
        self._datagrams_pending.append(data)
        return True

    def keep_minimum_window(self, now: float) -> None:
        """Let DATAGRAM frames go from now on, even beyond the congestion window, up to `MINIMUM_BITS_PER_S`."""
        self._minimum_window.start(now)

    def _next_datagram_bytes(self) -> int | None:
        return len(self._datagrams_pending[0]) if self._datagrams_pending else None

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> QuicStream:
        known = len(self._streams_queue)
        stream = super()._get_or_create_stream(frame_type, stream_id)
        self._windows.adopt(self._streams_queue[known:])
        return stream

    def _get_or_create_stream_for_send(self, stream_id: int) -> QuicStream:
        stream = self._streams.get(stream_id)
        if stream is not None and self._stream_can_send(stream_id):
            return stream
        self._steady.end()  # it may wait for MAX_STREAMS, and one day it is finished
        known = len(self._streams_queue)
        stream = super()._get_or_create_stream_for_send(stream_id)
        if not stream_is_unidirectional(stream_id):
            self._windows.adopt(self._streams_queue[known:])
        return stream

    def _handle_stream_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        budget = self._windows.budget
        try:
            super()._handle_stream_frame(context, frame_type, buf)
        except ReassemblyOverflowError as overflow:
            raise QuicConnectionError(
                QuicErrorCode.INTERNAL_ERROR, frame_type, f"more than {budget.max_chunks} gaps in streams"
            ) from overflow
        if budget.resets:
            self._events.extend(budget.resets)
            budget.resets.clear()

    def _handle_reset_stream_at_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        stream_id, reliable_size, plain = self._partial_resets.pull_frame(buf, frame_type)
        self._assert_stream_can_receive(frame_type, stream_id)
        receiver: Any = self._get_or_create_stream(frame_type, stream_id).receiver
        receiver.next_reliable_size = reliable_size
        try:
            self._handle_reset_stream_frame(context, frame_type, Buffer(data=plain))
        finally:
            receiver.next_reliable_size = 0

    def _handle_datagram_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        super()._handle_datagram_frame(context, frame_type, buf)
        if not self.workload.admits_datagram_frame(context.time):
            self._events.pop()

    def _handle_padding_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        """As aioquic's, but not byte for byte."""
        start = buf.tell()
        rest = buf.data_slice(start, buf.capacity)
        buf.seek(start + len(rest) - len(rest.lstrip(b"\0")))
        if self._quic_logger is not None and context.quic_logger_frames is not None:
            context.quic_logger_frames.append(self._quic_logger.encode_padding_frame())

    def _write_reset_stream_frame(self, builder: QuicPacketBuilder, stream: QuicStream) -> None:
        if stream.is_blocked:
            return  # a reset opens the stream, too, which the peer does not allow yet (RFC 9000 section 4.6)
        sender: Any = stream.sender
        if not isinstance(sender, PartialSender) or not sender.reliable_size:
            super()._write_reset_stream_frame(builder, stream)
            return
        buf = builder.start_frame(RESET_STREAM_AT, capacity=FRAME_CAPACITY, handler=sender.on_reset_delivery)
        self._partial_resets.push_frame(buf, sender)

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        limit = self._local_max_data
        self._windows.raise_connection_limit(limit)
        used, limit.used = limit.used, 0  # hides the bytes named, by which aioquic would double the limit
        try:
            super()._write_connection_limits(builder, space)
        finally:
            limit.used = used
        if self._ack_request.is_due:
            self._write_ack_frequency_frame(builder)
        if self._probe_pending and self._ack_request.is_supported_by_peer:
            builder.start_frame(IMMEDIATE_ACK, capacity=1)
        tokens = self._resumption.new_tokens
        while tokens:
            self._write_new_token_frame(builder, tokens[0])
            tokens.pop(0)
        if self._paths.is_challenge_due:
            self._write_path_challenge_frame(builder, self._network_paths[0])
            self._paths.is_challenge_due = False

    def _write_ack_frequency_frame(self, builder: QuicPacketBuilder) -> None:
        request = self._ack_request
        buf = builder.start_frame(
            ACK_FREQUENCY,
            capacity=FREQUENCY_CAPACITY,
            handler=request.on_delivery,
            handler_args=(*request.next_frame(), self._loss),
        )
        request.push_frame(buf, self._loss)

    def _write_new_token_frame(self, builder: QuicPacketBuilder, token: bytes) -> None:
        buf = builder.start_frame(
            QuicFrameType.NEW_TOKEN,
            capacity=token_capacity(token),
            handler=self._resumption.on_token_delivery,
            handler_args=(token,),
        )
        push_token(buf, token)

    def _write_stream_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream) -> None:
        wanted = self._windows.stream_limit(stream)
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

    # Acknowledgements

    def _handle_ack_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        self._acks.on_ack_frame(context, frame_type)
        start = buf.tell()
        largest, _, ranges = buf.pull_uint_var(), buf.pull_uint_var(), buf.pull_uint_var()
        buf.seek(start)
        space = self._spaces[context.epoch]
        before = space.largest_acked_packet
        self._received_acks.check(largest, ranges, context.epoch, frame_type)
        super()._handle_ack_frame(context, frame_type, buf)
        self._received_acks.follow(before, space, context.time)

    def _handle_ack_frequency_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        self._acks.on_frequency_frame(buf, frame_type)

    def _handle_immediate_ack_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        self._acks.hurry()

    def ask_for_acks(self, *, of_every_packet: bool) -> None:
        """Ask the peer to acknowledge every packet from now on, or as usual again; one that cannot takes no notice."""
        self._steady.end()
        self._ack_request.ask(is_every_packet=of_every_packet)

    def _write_ack_frame(self, builder: QuicPacketBuilder, space: QuicPacketSpace, now: float) -> None:
        super()._write_ack_frame(builder, space, now)
        if self._acks.wants_ping(self._loss.acks_unanswered, space):
            with suppress(QuicPacketBuilderStop):
                self._write_ping_frame(builder, comment="ACK-of-ACK trigger")
