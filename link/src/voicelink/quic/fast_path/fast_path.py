"""Finds out when a connection is steady, and gives it the two halves of the fast path while it is."""

from __future__ import annotations

from aioquic.quic.connection import END_STATES, QuicConnection
from aioquic.tls import Epoch

from voicelink.quic.fast_path.keys import Keys
from voicelink.quic.fast_path.parts import Parts
from voicelink.quic.fast_path.receiving import FastReceiver
from voicelink.quic.fast_path.sendable import has_data
from voicelink.quic.fast_path.sending import FastSender
from voicelink.quic.fast_path.steady_state import SteadyState
from voicelink.quic.parts.flow_control import is_streams_raise_due
from voicelink.quic.parts.paths import has_path_to_validate


class FastPath:
    """One connection's fast path: `receiver` and `sender` serve it while its `state` holds; `None` where they cannot.

    They are made anew whenever the state begins to hold, and know what stays the same until it ends. Without them, as
    where `is_allowed` is False, the connection looks at each datagram anew whether it is steady.
    """

    __slots__ = ("_connection", "_is_allowed", "_parts", "_state", "receiver", "sender")

    def __init__(self, connection: QuicConnection, state: SteadyState, parts: Parts, *, is_allowed: bool) -> None:
        self.receiver: FastReceiver | None = None
        self.sender: FastSender | None = None
        self._connection = connection
        self._state = state
        self._parts = parts
        self._is_allowed = is_allowed

    def look(self) -> None:
        """Find out whether the connection is steady now."""
        connection, state = self._connection, self._state
        is_ended = connection._close_event is not None or connection._state in END_STATES
        state.holds = connection._handshake_confirmed and not is_ended and not self._is_other_frame_due()
        if not state.holds:
            return
        state.has_stream_data = bool([each for each in connection._streams_queue if has_data(connection, each)])
        state.idle_timeout_s = connection._idle_timeout()
        pair = connection._cryptos[Epoch.ONE_RTT]
        receiving, sending = Keys.of(pair.recv), Keys.of(pair.send)
        self.receiver = self.sender = None
        if receiving is not None and sending is not None and self._can_serve():
            self.receiver = FastReceiver(connection, state, self._parts, receiving)
            self.sender = FastSender(connection, state, self._parts.loss, sending)

    def release(self) -> None:
        """Let go of the connection, which will neither receive nor send again."""
        self._state.end()
        self.receiver = self.sender = None
        self._connection = None  # type: ignore[assignment]  # nothing is asked of a connection that is gone

    def is_sending_due(self, now: float) -> bool:
        """While the state holds: whether there is anything to send."""
        state, connection = self._state, self._connection
        if state.has_stream_data or connection._datagrams_pending:
            return True
        ack_at = connection._loss.spaces[-1].ack_at
        return ack_at is not None and ack_at <= now

    def timer(self) -> float | None:
        """While the state holds: as aioquic's, where there is one packet number space and a validated path."""
        connection = self._connection
        loss, timer_at = connection._loss, connection._close_at
        connection._loss_at = loss_at = loss.get_loss_detection_time(amplification_limited=False)
        for at in (loss.spaces[-1].ack_at, loss_at, connection._pacing_at):
            if at is not None and (timer_at is None or at < timer_at):
                timer_at = at
        return timer_at

    def _is_other_frame_due(self) -> bool:
        """Whether a frame other than ACK, STREAM and DATAGRAM is to be sent."""
        connection, parts = self._connection, self._parts
        windows = parts.windows
        return bool(
            connection._probe_pending
            or connection._ping_pending
            or connection._retire_connection_ids
            or connection._handshake_done_pending
            or connection._streams_blocked_pending
            or parts.resumption.new_tokens
            or parts.paths.is_challenge_due
            or parts.ack_request.is_due
            or connection._remote_preferred_address is not None
            or not connection._crypto_streams[Epoch.ONE_RTT].sender.buffer_is_empty
            or connection._cryptos[Epoch.ONE_RTT]._update_key_requested
            or not all(each.was_sent for each in connection._host_cids)
            or has_path_to_validate(connection._network_paths)
            or windows.is_connection_raise_due(connection._local_max_data)
            or connection._local_max_data.value != connection._local_max_data.sent
            or is_streams_raise_due(connection._local_max_streams_bidi)
            or is_streams_raise_due(connection._local_max_streams_uni)
            or any(windows.is_due(stream) for stream in connection._streams_queue)
        )

    def _can_serve(self) -> bool:
        """Whether the two halves can serve the path in use, and nothing is logged."""
        connection, paths = self._connection, self._parts.paths
        return (
            self._is_allowed
            and bool(connection.host_cid)  # without one, only its address tells a packet from a stateless reset
            and connection._quic_logger is None
            and not connection._cryptos[Epoch.ZERO_RTT].recv.is_valid()
            and connection._network_paths[0].is_validated
            and paths.deadline is None
            and (
                all(path.is_validated for path in connection._network_paths)
                if connection._is_client
                else paths.is_announced(connection._network_paths[0])
            )
        )
