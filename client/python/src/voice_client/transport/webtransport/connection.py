"""One WebTransport session over QUIC, and its moves from socket to socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from voice_client.errors import (
    CallLost,
    CertificateRefused,
    ClientError,
    InvalidSetting,
    MigrationFailed,
    SessionRefused,
    Unreachable,
    session_ended,
    session_refused,
)
from voice_client.state_log import log_change
from voice_client.transport.credentials import Account
from voice_client.transport.target import Target, parse_local_address
from voice_client.transport.trust import Trust
from voice_client.transport.webtransport.conditions import Conditions
from voice_client.transport.webtransport.configuration import CID_BYTES, quic_configuration
from voice_client.transport.webtransport.progress import ProgressTracker
from voice_client.transport.webtransport.session_handler import SessionHandler
from voice_client.transport.webtransport.sockets import Sockets
from voice_client.transport.webtransport.udp import Address, UdpSocket, format_address
from voicelink.h3.limits import STOPPED_SESSION_S
from voicelink.h3.webtransport import (
    DatagramReceived,
    SessionClosed,
    SessionDraining,
    SessionOpened,
    SessionStopped,
    StreamData,
    StreamReset,
    WebTransportEvent,
    WebTransportLayer,
)
from voicelink.h3.webtransport import SessionRefused as SessionRefusedEvent
from voicelink.net.deadline_queue import DeadlineQueue
from voicelink.quic import (
    Connection,
    PathFailed,
    PathValidated,
    PeerClosed,
    PreferredAddressOffered,
    QuicErrorCode,
    RandomCids,
    ResumptionCallbacks,
    ServerMoved,
    SessionTicket,
)
from voicelink.quic.driver import Driver
from voicelink.quic.events import ConnectionTerminated, HandshakeCompleted, QuicEvent
from voicelink.quic.qlog import Qlog
from voicelink.wire import CloseCode

_log = logging.getLogger(__name__)

_H3_NO_ERROR = 0x100
_LONGEST_SESSION_BYTES = 8  # the quarter stream ID before each datagram
_MAX_WAITING_DATAGRAMS = 8
_SPARE_CID_TIMEOUT_S = 2.0
_OLD_ADDRESS_S = 1.0
_FORBIDDEN = "the server allows no migration"
_CERTIFICATE_ALERTS = range(42, 50)  # bad_certificate to access_denied (RFC 8446 section 6.2)


@dataclass(frozen=True, slots=True)
class Switch:
    """Figures of a migration that came about; `Migration` says what they mean."""

    started_at: float
    old: str
    new: str
    validated_ms: float
    gap_ms: float


class WebTransportConnection:
    """A session whose streams carry bytes; made by `voice_client.transport.connect.connect`, ended by `close`."""

    def __init__(
        self,
        target: Target,
        trust: Trust,
        handler: SessionHandler[WebTransportConnection],
        remote: Address,
        *,
        account: Account,
        headers: dict[str, str],
        rng: Callable[[int], bytes],
        qlog: Qlog | None = None,
    ) -> None:
        self._target = target
        self._trust = trust
        self._handler = handler
        self._remote = remote
        self._account = account
        self._headers = headers
        self._loop = asyncio.get_running_loop()
        self._quic = Connection(
            configuration=quic_configuration(target, trust, account),
            cids=RandomCids(CID_BYTES, rng),
            resumption=ResumptionCallbacks(ticket_received=self._ticket_received, token_received=self._token_received),
            qlog=qlog,
        )
        self._has_qlog = qlog is not None
        self._h3 = WebTransportLayer(self._quic)
        self._session_id: int | None = None
        self._sockets = Sockets(self._datagram_received)
        self._local_address: str | None = None
        self._going: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._progress = ProgressTracker()
        self._driver = Driver(self._quic, self._loop, DeadlineQueue(self._loop), self)
        self._transmission: asyncio.Handle | None = None
        self._conditions = Conditions()
        self._is_path_valid: bool | None = None
        self._is_migrating = False
        self._is_over = False

    @property
    def local_address(self) -> str:
        """`host:port` from which the session sends now."""
        return self._sockets.leading.local_address

    @property
    def remote_address(self) -> str:
        """`host:port` of the server that the session sends to now."""
        return format_address(self._remote)

    @property
    def stalled_s(self) -> float:
        """How long something sent has waited without any acknowledgement; 0 while the connection moves."""
        return 0.0 if self._is_migrating else self._progress.stalled_s(self._loop.time())

    @property
    def probe_timeout_s(self) -> float:
        """How long an acknowledgement may take on this path, by its round trips (RFC 9002 section 6.2.1)."""
        return self._quic.probe_timeout_s

    async def open(self, local_address: str | None) -> None:
        """Connect, prove the server's identity, and wait until it accepts the session."""
        self._local_address = local_address
        self._sockets.lead(await self._sockets.open(self._remote, local_address, self._refused))
        self._quic.connect(self._remote, now=self._loop.time())
        self._changed("connection_opening", local=self.local_address, remote=self.remote_address)
        self._transmit()
        await self._opened

    def open_stream(self, *, is_unidirectional: bool) -> int:
        """Return the ID of a new stream; from `SessionHandler.session_requested` on."""
        if self._session_id is None:
            raise CallLost("there is no session yet")
        return self._h3.open_stream(self._session_id, is_unidirectional=is_unidirectional)

    def send(self, stream_id: int, data: bytes) -> None:
        """Send on a stream, reliably; all that is sent in one turn of the event loop shares datagrams."""
        if not self._is_over:
            self._h3.send(stream_id, data)
            self._driver.flush_soon()

    @property
    def max_datagram_bytes(self) -> int:
        """The largest datagram that can be sent now; 0 where the server takes none."""
        return max(0, self._quic.max_datagram_bytes - _LONGEST_SESSION_BYTES)

    @property
    def has_datagram_room(self) -> bool:
        """Whether a datagram would leave soon: few wait before it."""
        return self._quic.queued_datagrams < _MAX_WAITING_DATAGRAMS

    def keep_minimum_window(self) -> None:
        """Keep a minimum congestion window, so that datagrams go at the rate of speech."""
        self._quic.keep_minimum_window(self._loop.time())

    def send_datagram(self, data: bytes) -> None:
        """Send a datagram, which may be lost."""
        if not self._is_over and self._session_id is not None:
            self._h3.send_datagram(self._session_id, data)
            self._driver.flush_soon()

    async def migrate(self, local_address: str | None, keep_old_s: float) -> Switch:
        """Go on from a new socket; the old one is read for `keep_old_s` more, or used again where the path fails."""
        if self._is_migrating:
            raise MigrationFailed("the call is already moving to another path")
        self._is_migrating = True
        self._quic.ask_for_acks(of_every_packet=True)  # the gap is measured by them
        try:
            return await self._migrate(local_address, keep_old_s)
        finally:
            self._is_migrating = False
            self._quic.ask_for_acks(of_every_packet=False)

    def probe(self) -> None:
        """Ask the server for a sign of life."""
        if not self._is_over:
            self._quic.probe()
            self._driver.flush_soon()

    def close(self, code: CloseCode, reason: str) -> None:
        """End the session and the connection now; what is queued goes out first as far as the window allows."""
        if not self._is_over:
            self._changed("session_closing", code=int(code), reason=reason)
            if self._session_id is not None:
                self._h3.close_session(self._session_id, code, reason)
                self._transmit()
            self._over()
        self.abandon()

    def abandon(self) -> None:
        """Close the connection without waiting for anything, and the sockets."""
        self._is_over = True
        if self._sockets.has_any:
            if not self._quic.is_ended:
                self._changed("connection_closed")
            self._quic.close(error_code=_H3_NO_ERROR)
            self._transmit()
        for handle in (self._transmission, self._going):
            if handle is not None:
                handle.cancel()
        self._driver.release()
        self._sockets.close()
        self._opened.cancel()
        self._conditions.end()
        self._end_qlog()

    def _end_qlog(self) -> None:
        """Finish the log now: no timer will end the closing period (RFC 9000 section 10.2)."""
        ends_at = self._quic.get_timer() if self._has_qlog else None
        if ends_at is not None:
            try:
                self._quic.handle_timer(ends_at)
            except OSError as error:
                _log.warning("cannot write the qlog: %s", error.strerror or error)

    async def _migrate(self, local_address: str | None, keep_old_s: float) -> Switch:
        await self._conditions.until(lambda: self._quic.can_migrate, _SPARE_CID_TIMEOUT_S, _FORBIDDEN)
        try:
            new = await self._sockets.open(self._remote, local_address)
        except InvalidSetting as error:
            raise MigrationFailed(str(error)) from None
        started_at = self._loop.time()
        old = self._sockets.leading
        if self._is_over or not self._quic.begin_migration(started_at):
            new.close()
            raise MigrationFailed(_FORBIDDEN)
        self._changed("migration_started", old=old.local_address, new=new.local_address)
        self._is_path_valid = None
        self._sockets.lead(new)
        self._handler.path_changed()
        self._local_address = local_address or self._local_address
        self._progress.restart()
        self._transmit()
        if keep_old_s <= 0:
            self._sockets.drop(old)
        await self._conditions.until(lambda: self._is_path_valid is not None)
        validated_at = self._loop.time()
        if not self._is_path_valid:
            self._changed("path_failed", new=new.local_address)
            self._go_back(old, new)
            raise MigrationFailed(f"no answer from the server on the path from {new.local_address}")
        self._changed("path_validated", new=new.local_address, validated_ms=(validated_at - started_at) * 1000)
        if keep_old_s > 0:
            self._loop.call_at(max(started_at + keep_old_s, validated_at), self._sockets.drop, old)
        await self._conditions.until(lambda: self._has_progressed_since(validated_at))
        return Switch(
            started_at=started_at,
            old=old.local_address,
            new=new.local_address,
            validated_ms=(validated_at - started_at) * 1000,
            gap_ms=self._progress.worst_ms(self._loop.time()),
        )

    def _has_progressed_since(self, moment: float) -> bool:
        progressed_at = self._progress.progressed_at
        return not self._quic.has_unacknowledged or (progressed_at is not None and progressed_at >= moment)

    def _go_back(self, old: UdpSocket, new: UdpSocket) -> None:
        if old.is_open:
            self._sockets.lead(old)
            self._handler.path_changed()
            self._sockets.drop(new)
            self._transmit()

    async def _go_to(self, preferred: Address) -> None:
        """Ask at the server's preferred address, from the same network but through another socket."""
        host = None if self._local_address is None else parse_local_address(self._local_address)[0]
        try:
            socket = await self._sockets.open(preferred, host)
        except InvalidSetting:
            return
        if self._is_over or not self._quic.probe_preferred_address(preferred):
            socket.close()
            return
        self._sockets.keep(socket)
        self._transmit()

    def _server_moved(self, address: Address) -> None:
        former, self._remote = self._remote, address
        self._changed("server_moved", old=format_address(former), new=format_address(address))
        for socket in self._sockets.to(address):
            self._sockets.lead(socket)
        self._handler.path_changed()
        for socket in self._sockets.to(former):
            # datagrams under way still arrive through the old one
            self._loop.call_later(_OLD_ADDRESS_S, self._sockets.drop, socket)

    # From the network

    def _datagram_received(self, remote: Address, data: bytes) -> None:
        if self._is_over:
            return
        self._driver.receive(data, remote)
        self._observe(self._loop.time())

    def _refused(self) -> None:
        if not self._opened.done():
            self._opened.set_exception(Unreachable(f"no server listens at {self._target.shown}"))

    def _transmit(self) -> None:
        self._transmission = None
        self._driver.flush()
        self._observe(self._loop.time())

    def _observe(self, now: float) -> None:
        self._progress.observe(now, self._quic.largest_acknowledged, is_waiting=self._quic.has_unacknowledged)
        if self._conditions.has_any:
            self._conditions.check()

    # What the driver asks of its host

    def datagram_to_send(self, datagram: bytes, address: Address) -> None:
        """Send through the socket that leads to the address."""
        self._sockets.send(datagram, address)

    def schedule_flush(self) -> None:
        """Transmit in the next turn of the loop."""
        if self._transmission is None and not self._is_over:
            self._transmission = self._loop.call_soon(self._transmit)

    def event_received(self, event: QuicEvent) -> None:
        """Act on an event, and pass it on to HTTP/3."""
        if isinstance(event, HandshakeCompleted):
            self._handshake_completed()
        elif isinstance(event, PathValidated):
            self._is_path_valid = True
        elif isinstance(event, PathFailed):
            self._path_failed(event.address)
        elif isinstance(event, PreferredAddressOffered):
            self._going = self._loop.create_task(self._go_to(event.address))
        elif isinstance(event, ServerMoved):
            self._server_moved(event.address)
        elif isinstance(event, PeerClosed):
            self._connection_ended(event.error_code, event.reason, is_reset=event.is_stateless_reset)
        elif isinstance(event, ConnectionTerminated):
            self._connection_ended(event.error_code, event.reason_phrase)
        self._session_events(self._h3.handle_event(event))

    def fault_found(self) -> bool:
        """Leave what was raised to the event loop's exception handler."""
        return False

    def _session_events(self, events: Sequence[WebTransportEvent]) -> None:
        for event in events:
            if isinstance(event, StreamData):
                self._handler.stream_received(event.stream_id, event.data, event.is_ended)
            elif isinstance(event, DatagramReceived):
                self._handler.datagram_received(event.data)
            elif isinstance(event, StreamReset):
                self._handler.stream_reset(event.stream_id)
            elif isinstance(event, SessionOpened):
                if not self._opened.done():
                    self._changed("session_opened", session_id=self._session_id)
                    self._opened.set_result(None)
            elif isinstance(event, SessionRefusedEvent):
                has_token = "authorization" in self._headers
                self._fail(session_refused(event.status, self._target.path, event.headers, has_token=has_token))
            elif isinstance(event, SessionDraining):
                self._changed("session_draining")
                self._handler.session_draining()
            elif isinstance(event, SessionStopped):
                self._loop.call_later(STOPPED_SESSION_S, self._stopped_too_long, event.session_id)
            elif isinstance(event, SessionClosed):
                self._fail(None if event.code == CloseCode.NORMAL else session_ended(event.code, event.reason))

    def _stopped_too_long(self, session_id: int) -> None:
        if not self._is_over:
            self._session_events(self._h3.end_stopped_session(session_id))
            self._driver.flush_soon()

    def _path_failed(self, address: Address) -> None:
        if address == self._remote:
            self._is_path_valid = False
        for socket in self._sockets.to(address) if address != self._remote else ():
            self._sockets.drop(socket)

    def _handshake_completed(self) -> None:
        if not self._quic.is_resumed and not self._trust.accepts(self._quic.peer_certificate_der):
            self._fail(CertificateRefused(f"{self._target.shown} shows another certificate than the pinned one"))
            self._quic.close(error_code=QuicErrorCode.CRYPTO_ERROR + _CERTIFICATE_ALERTS[0])
            return
        self._changed("handshake_completed", is_resumed=self._quic.is_resumed)
        # only now: the token is not for a server that could not prove who it is
        self._session_id = self._h3.connect(
            authority=self._target.authority, path=self._target.path, headers=self._headers
        )
        self._handler.session_requested(self)

    def _ticket_received(self, ticket: SessionTicket) -> None:
        if self._session_id is not None:
            self._account.keep_ticket(ticket)

    def _token_received(self, token: bytes) -> None:
        if self._session_id is not None:
            self._account.keep_token(token)

    def _connection_ended(self, error_code: int, reason: str, *, is_reset: bool = False) -> None:
        if self._opened.done():
            self._fail(CallLost(f"the connection was lost: {reason or f'error {error_code:#x}'}"))
            return
        alert = error_code - QuicErrorCode.CRYPTO_ERROR
        if alert in _CERTIFICATE_ALERTS:
            remedy = "an authority that is not public is named by --ca, in the SDK by ca_file"
            self._fail(
                CertificateRefused(f"the certificate of {self._target.shown} is not trusted: {reason}; {remedy}")
            )
        elif error_code == QuicErrorCode.CONNECTION_REFUSED:
            self._fail(SessionRefused("the server takes no more calls now", 503))
        else:
            why = reason or f"error {error_code:#x}"
            self._fail(Unreachable(f"no connection to {self._target.shown}: {why}", is_reset=is_reset))

    def _fail(self, error: ClientError | None) -> None:
        if not self._is_over:
            self._changed("session_ended", error="none" if error is None else type(error).__name__)
        if not self._opened.done():
            self._opened.set_exception(error or CallLost("the server closed the session at once"))
        elif not self._is_over:
            self._over()
            self._handler.session_closed(error)

    def _changed(self, event: str, **values: object) -> None:
        log_change(_log, event, odcid=self._quic.original_destination_connection_id, **values)

    def _over(self) -> None:
        self._is_over = True
        self._conditions.end()
