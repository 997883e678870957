"""One connection of an endpoint: its timer, its events, and what is to be sent once the loop turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from quiclb.logs.limits import LimitedLog
from voice_gateway.endpoint.logs.connection_log import ConnectionLog
from voice_gateway.endpoint.sockets.client_paths import Path, ProxyAddress, peer_name
from voicelink.net.deadline_queue import DeadlineQueue
from voicelink.quic import Connection, QuicErrorCode
from voicelink.quic.driver import Driver
from voicelink.quic.events import (
    ConnectionIdIssued,
    ConnectionIdRetired,
    ConnectionTerminated,
    HandshakeCompleted,
    PeerClosed,
    PeerMoved,
    ProtocolNegotiated,
    QuicEvent,
    StreamDataReceived,
)

_log = LimitedLog(structlog.get_logger(__name__))

MAX_ROUTES = 16
"""How many client paths of one connection have a load balancer on record; aioquic itself keeps 8."""


class ConnectionHandler(Protocol):
    """What runs on a connection, on the event loop, from the moment its protocol is agreed."""

    def event_received(self, event: QuicEvent) -> None:
        """Each QUIC event in order; what it makes the handler send leaves in the same turn of the loop."""

    def terminated(self, reason: str) -> None:
        """The connection is over; called once, and nothing after it."""


Application = Callable[["ServedConnection"], ConnectionHandler]


class Owner(Protocol):
    """What a connection needs of its endpoint."""

    def send(self, datagram: bytes, path: Path, forwarder: ProxyAddress | None) -> None: ...
    def flush_soon(self, connection: ServedConnection) -> None: ...
    def cid_issued(self, cid: bytes, connection: ServedConnection) -> None: ...
    def cid_retired(self, cid: bytes, connection: ServedConnection, after_s: float) -> None: ...
    def handshake_completed(self, connection: ServedConnection) -> None: ...
    def path_changed(self, connection: ServedConnection) -> None: ...
    def failed(self) -> None: ...
    def ended(self, connection: ServedConnection, error_code: int | None) -> None: ...


class ServedConnection:
    """A connection the endpoint accepted. Handlers use `quic`, `flush_soon` after queueing, and `close`.

    Once the connection is forgotten nothing is received, sent or timed any more, so that no timer holds it in memory.
    """

    def __init__(
        self,
        quic: Connection,
        owner: Owner,
        application: Application,
        loop: asyncio.AbstractEventLoop,
        deadlines: DeadlineQueue,
    ) -> None:
        self.quic = quic
        self.id = quic.host_cid.hex()
        """The connection ID that the server chose first; it names the connection for as long as there is one."""
        self.log = ConnectionLog(quic.host_cid)
        self.loop = loop
        self._owner = owner
        self._application = application
        self._handler: ConnectionHandler | None = None
        self._routes: dict[Path, ProxyAddress] = {}
        self._driver = Driver(quic, loop, deadlines, self)
        self._is_over = False

    @property
    def peer(self) -> str:
        return peer_name(self.quic.get_peer_address() or ("?", 0))

    def received(self, datagram: bytes, path: Path, forwarder: ProxyAddress | None) -> None:
        """Take a datagram; what it calls for is sent once the loop has read what else is waiting."""
        if forwarder is not None:
            self._remember(path, forwarder)
        self._driver.receive(datagram, path)
        if self.log.is_enabled:
            self.log.path_is(self.quic.get_peer_address())

    def flush_soon(self) -> None:
        """Send, once in this turn of the loop, all that is queued by then."""
        self._driver.flush_soon()

    def flush(self) -> None:
        """Send what is queued and set the timer."""
        self._driver.flush()

    def close(self, error_code: int, reason: str) -> None:
        """Close the connection, and call the handler's `terminated`."""
        self.quic.close(error_code=error_code, reason_phrase=reason)
        self.log.closed(error_code, by="server", reason=reason)
        self._end(reason)
        self.flush_soon()

    def refuse(self, error_code: int) -> None:
        """Close a half-open connection with one CONNECTION_CLOSE and forget it at once, without a closing period."""
        self.quic.close(error_code=error_code, frame_type=0)  # a transport error, of no frame
        self.log.closed(error_code, by="server")
        self._end("refused")
        self.flush()
        self._forget(None)

    def discard(self) -> None:
        """Forget a connection, and send the peer nothing."""
        self._end("discarded")
        self._forget(None)

    def _remember(self, path: Path, forwarder: ProxyAddress) -> None:
        if path not in self._routes and len(self._routes) >= MAX_ROUTES:
            active = self.quic.get_peer_address()
            del self._routes[next(each for each in self._routes if each != active)]
        self._routes[path] = forwarder

    # What the driver asks of its host

    def datagram_to_send(self, datagram: bytes, address: Path) -> None:
        """Send to the client, through the load balancer of its last datagram."""
        self._owner.send(datagram, address, self._routes.get(address) if self._routes else None)

    def schedule_flush(self) -> None:
        """Have the endpoint flush this connection in this turn of the loop."""
        self._owner.flush_soon(self)

    def event_received(self, event: QuicEvent) -> None:
        """Act on an event, and pass it on to the handler."""
        if isinstance(event, StreamDataReceived):  # nearly all are
            if self._handler is not None:
                self._handler.event_received(event)
            return
        match event:
            case ConnectionIdIssued(connection_id=cid):
                self._owner.cid_issued(cid, self)
                return
            case ConnectionIdRetired(connection_id=cid):
                self._owner.cid_retired(cid, self, 3 * self.quic.probe_timeout_s)
                return
            case ProtocolNegotiated() if not self._is_over:
                self._handler = self._application(self)
            case HandshakeCompleted(alpn, has_early_data, is_resumed):
                self.log.address_validated("handshake")
                self.log.handshake_completed(alpn, is_resumed=is_resumed, has_early_data=has_early_data)
                self._owner.handshake_completed(self)
            case PeerMoved(address=address):
                self.log.migrated(address)
                self._owner.path_changed(self)
            case PeerClosed(error_code=code, reason=reason):
                self.log.closed(code, by="client")
                self._end(reason or "closed by the peer")
                return
            case ConnectionTerminated(error_code=code, frame_type=frame_type, reason_phrase=reason):
                if code == QuicErrorCode.INTERNAL_ERROR and not self.quic.has_found_fault:
                    self.log.timed_out("idle")
                self.log.closed(code, by="server", reason=reason)
                self._end(reason)
                self._forget(code if frame_type is not None else None)
                return
        if self._handler is not None:
            self._handler.event_received(event)

    def _end(self, reason: str) -> None:
        self._is_over = True
        handler, self._handler = self._handler, None
        if handler is not None:
            try:
                handler.terminated(reason)
            except Exception:
                self.fault_found()

    def _forget(self, error_code: int | None) -> None:
        self._driver.release()
        self._owner.ended(self, error_code)
        self.log.forgotten()
        self.quic.release()

    def fault_found(self) -> bool:
        """A defect of ours must cost one connection, not the worker."""
        _log.exception("connection_failed", cid=self.quic.host_cid.hex())
        self._owner.failed()
        self.quic.close(error_code=QuicErrorCode.INTERNAL_ERROR, reason_phrase="internal error")
        self.log.closed(QuicErrorCode.INTERNAL_ERROR, by="server", reason="internal error")
        self._end("internal error")
        return True
