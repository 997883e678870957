"""A worker's UDP endpoint: gives each datagram to its connection, and answers those that belong to none."""

from __future__ import annotations

import asyncio
import os
import socket
import time
import weakref
from collections import Counter
from collections.abc import Callable

from quiclb.net.spp import SppFault
from quiclb.routing.packet import LongHeader
from voice_gateway.endpoint.admission.address_validation import (
    AddressValidation,
    Admitted,
    HandshakePolicy,
    KnownAddress,
    ValidToken,
)
from voice_gateway.endpoint.admission.half_open import HalfOpenTable
from voice_gateway.endpoint.admission.pending_connections import PendingConnection, PendingConnections
from voice_gateway.endpoint.cids.cid_table import CidTable
from voice_gateway.endpoint.cids.issuers import ServerCidSource
from voice_gateway.endpoint.cids.resets import Resets
from voice_gateway.endpoint.counters import EndpointCounters
from voice_gateway.endpoint.credentials import Credentials
from voice_gateway.endpoint.logs.qlog_folder import QlogFolder
from voice_gateway.endpoint.served import Application, ServedConnection
from voice_gateway.endpoint.settings import EndpointSettings, early_data_context, quic_configuration
from voice_gateway.endpoint.sockets.client_paths import ForwardedPath, Path, ProxyAddress, TrustedProxies, parse_spp
from voice_gateway.endpoint.sockets.udp_socket import UdpSocket
from voice_gateway.endpoint.tls.identity import TlsIdentity
from voice_gateway.net.network import network_of
from voicelink.net.deadline_queue import DeadlineQueue
from voicelink.net.deadline_timer import DeadlineTimer
from voicelink.quic import H3_NO_ERROR, Connection, FirstInitial, QuicErrorCode, ResumptionCallbacks, SharedLoad
from voicelink.quic.cid_source import RandomBytes
from voicelink.quic.stateless import (
    MIN_INITIAL_BYTES,
    SUPPORTED_VERSIONS,
    parse_long_header,
    version_negotiation,
)

__all__ = ["Endpoint", "EndpointSettings"]


class Endpoint:
    """Accepts QUIC connections and runs `application` on each; `open` it, and `close` it in the end.

    `handshakes` is asked about each new client. `wall_clock` gives seconds since 1970 for tokens and tickets, `rng`
    unpredictable bytes. Timers run on the event loop's own clock. Nothing that arrives raises: it is counted in
    `counters`.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        identity: TlsIdentity,
        cids: ServerCidSource,
        application: Application,
        *,
        handshakes: HandshakePolicy | None = None,
        wall_clock: Callable[[], float] = time.time,
        rng: RandomBytes = os.urandom,
    ) -> None:
        self.counters = EndpointCounters()
        self._settings = settings
        self._identity = identity
        self._cids = cids
        self._former_cids: dict[bytes, ServerCidSource] = {}
        self._application = application
        self._rng = rng
        self._trusted_proxies = TrustedProxies(settings.trusted_proxies)
        self.credentials = Credentials(settings.secrets, early_data_context(settings), wall_clock, rng)
        self._validation = AddressValidation(settings, self.counters, self.credentials.address_tokens, handshakes)
        self._configuration = quic_configuration(settings, identity, cids.length_bytes)
        self._cid_table: CidTable[ServedConnection] = CidTable()
        self._connections: set[ServedConnection] = set()
        self._half_open: HalfOpenTable[ServedConnection] = HalfOpenTable(settings.max_half_open)
        self._pending = PendingConnections(
            self._begin, self.counters, lambda callback: self._running_loop().call_soon(callback)
        )
        self._load = SharedLoad()
        self._qlogs = (
            None
            if settings.qlog_folder is None
            else QlogFolder(settings.qlog_folder, settings.qlog_max_bytes, wall_clock, sample=settings.qlog_sample)
        )
        self._handshake_deadline: DeadlineTimer | None = None
        self._dirty: list[ServedConnection] = []
        self._resets = Resets(settings, self.counters, rng)
        self._public: UdpSocket | None = None
        self._inner: UdpSocket | None = None
        self._is_steered = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deadlines: DeadlineQueue | None = None

    async def open(self, steered: socket.socket | None = None) -> None:
        """Bind the sockets; raises `BindError` with the address that cannot be had.

        A `steered` socket, bound already, is used for the public one: the kernel passes it the datagrams of its server
        ID, those of servers that are gone, and its part of those of new clients.
        """
        settings = self._settings
        self._loop = asyncio.get_running_loop()
        self._deadlines = DeadlineQueue(self._loop)
        self._handshake_deadline = DeadlineTimer(self._loop, self._expire_handshakes)
        size = settings.receive_buffer_bytes
        if settings.host is not None:
            self._is_steered = steered is not None
            self._public = await UdpSocket.open(
                self._loop,
                (settings.host, settings.port) if steered is None else steered,
                size,
                self._public_received,
                self._send_failed,
            )
        if settings.inner_host is not None:
            try:
                self._inner = await UdpSocket.open(
                    self._loop,
                    (settings.inner_host, settings.inner_port),
                    size,
                    self._inner_received,
                    self._send_failed,
                )
            except BaseException:
                if self._public is not None:
                    self._public.close()
                raise

    async def close(self, reason: str = "") -> None:
        """Close every connection, then the sockets. Calling it again does nothing."""
        self.stop_accepting()
        for connection in list(self._connections):
            connection.close(H3_NO_ERROR, reason)
            connection.flush()
            connection.discard()
        if self._handshake_deadline is not None:
            self._handshake_deadline.cancel()
        for each in (self._public, self._inner):
            if each is not None:
                each.close()
        self._cid_table.clear()
        self._pending.clear()
        await asyncio.sleep(0)

    def stop_accepting(self) -> None:
        """Refuse new connections from now on; the present ones go on."""
        self._validation.is_accepting = False

    def rotate_cids(self, cids: ServerCidSource) -> None:
        """Issue from `cids`, of the same length, and move every connection to it (draft section "Config Rotation")."""
        self._former_cids[self._cids.key_name] = self._cids
        self._cids = cids
        self._former_cids.pop(cids.key_name, None)
        for connection in self._connections:
            connection.quic.rotate_cids(cids)
            connection.flush_soon()

    def renew_identity(self, identity: TlsIdentity) -> None:
        """Show another certificate from the next handshake on; connections that are up keep theirs."""
        self._identity = identity
        self._configuration = quic_configuration(self._settings, identity, self._cids.length_bytes)

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of the public socket as really bound."""
        return self._public.address if self._public is not None else None

    @property
    def inner_address(self) -> tuple[str, int] | None:
        """Host and port of the inner socket as really bound."""
        return self._inner.address if self._inner is not None else None

    @property
    def connection_count(self) -> int:
        """Connections that are open, opening or closing."""
        return len(self._connections)

    def find(self, connection_id: str) -> ServedConnection | None:
        """Return the connection of this `ServedConnection.id`, if there is one."""
        return next((each for each in self._connections if each.id == connection_id), None)

    def connections_by_config(self) -> Counter[int]:
        """How many connections can be called by a connection ID of each config ID; 7 is that of unroutable ones."""
        return Counter(
            config_id for each in self._connections for config_id in {cid[0] >> 5 for cid in each.quic.host_cids}
        )

    @property
    def half_open_count(self) -> int:
        """Connections whose handshake is not completed yet."""
        return len(self._half_open)

    # Datagrams in

    def _public_received(self, datagram: bytes, address: Path) -> None:
        counters = self.counters
        counters.datagrams_received += 1
        counters.bytes_received += len(datagram)
        self._route(datagram, address, None)

    def _inner_received(self, datagram: bytes, forwarder: ProxyAddress) -> None:
        counters = self.counters
        counters.datagrams_received += 1
        counters.bytes_received += len(datagram)
        if not self._trusted_proxies.has(forwarder):
            if not (self._trusted_proxies.may_probe(forwarder) and self._answer_probe(datagram, forwarder)):
                self.counters.untrusted_source += 1
            return
        parsed = parse_spp(datagram)
        if not isinstance(parsed, SppFault):
            self._route(parsed[1], parsed[0], forwarder)
        elif not self._answer_probe(datagram, forwarder):
            self.counters.inner_malformed += 1

    def _route(self, datagram: bytes, path: Path, forwarder: ProxyAddress | None) -> None:
        if not datagram:
            self.counters.malformed += 1
        elif datagram[0] & 0x80:
            self._route_long(datagram, path, forwarder)
        else:
            cid = datagram[1 : 1 + self._cids.length_bytes]
            connection = self._cid_table.find(cid)
            if connection is not None:
                connection.received(datagram, path, forwarder)
            else:
                self._unknown(cid, datagram, path, forwarder)

    def _route_long(self, datagram: bytes, path: Path, forwarder: ProxyAddress | None) -> None:
        header = parse_long_header(datagram)
        if header is None or header.version == 0:
            self.counters.malformed += 1
            return
        connection = self._cid_table.find(header.dcid)
        if connection is not None:
            connection.received(datagram, path, forwarder)
        elif (pending := self._pending.find(header.dcid)) is not None:
            self._pending.extend(pending, (datagram, path, forwarder))
        elif header.version not in SUPPORTED_VERSIONS:
            if len(datagram) < MIN_INITIAL_BYTES:
                self.counters.malformed += 1
                return
            self.counters.version_negotiations_sent += 1
            self.send(version_negotiation(header, self._rng), path, forwarder)
        else:
            self._open_connection(header, datagram, path, forwarder)

    def _answer_probe(self, datagram: bytes, forwarder: ProxyAddress) -> bool:
        """Answer a health probe, a packet of a reserved version, bare or behind an SPP header; return if it is one."""
        parsed = parse_spp(datagram)
        packet, spp_header = (datagram, b"") if isinstance(parsed, SppFault) else (parsed[1], parsed[0].spp_header)
        header = parse_long_header(packet) if packet and packet[0] & 0x80 else None
        if header is None or header.version in (0, *SUPPORTED_VERSIONS) or len(packet) < MIN_INITIAL_BYTES:
            return False
        if self._inner is not None:
            self.counters.version_negotiations_sent += 1
            self._transmit(self._inner, spp_header + version_negotiation(header, self._rng), forwarder)
        return True

    def _unknown(self, cid: bytes, datagram: bytes, path: Path, forwarder: ProxyAddress | None) -> None:
        sources = (self._cids, *self._former_cids.values())
        is_forwarded = forwarder is not None or self._is_steered
        reset = self._resets.answer(cid, len(datagram), sources, is_forwarded=is_forwarded, now=self._now())
        if reset is not None:
            self.send(reset, path, forwarder)

    # New connections

    def _open_connection(self, header: LongHeader, datagram: bytes, path: Path, forwarder: ProxyAddress | None) -> None:
        decision = self._validation.decide(
            header,
            datagram,
            path,
            self._cids,
            connections=len(self._connections) + len(self._pending),
            half_open=len(self._half_open) + len(self._pending),
            now=self._now(),
        )
        if isinstance(decision, Admitted):
            self._pending.add(header, decision, (datagram, path, forwarder))
        elif decision is not None:
            self.send(decision, path, forwarder)

    def _begin(self, pending: PendingConnection) -> None:
        first, *rest = pending.datagrams
        connection = self._start(pending.header, pending.admitted, *first)
        for datagram, path, forwarder in rest:
            if connection in self._connections:
                connection.received(datagram, path, forwarder)

    def _start(
        self, header: LongHeader, admitted: Admitted, datagram: bytes, path: Path, via: ProxyAddress | None
    ) -> ServedConnection:
        verdict = admitted.verdict
        retried = verdict if isinstance(verdict, ValidToken) else None
        on_log = None if self._qlogs is None else self._qlogs.on_log
        quic = Connection(
            configuration=self._configuration,
            cids=self._cids,
            options=self._settings.connection,
            first_initial=FirstInitial(
                retried.original_destination_cid if retried else header.dcid,
                retried.retry_source_cid if retried else None,
                admitted.keys,
            ),
            resumption=ResumptionCallbacks(
                open_session=self.credentials.open_session, seal_session=self.credentials.seal_session
            ),
            preferred_address=self._settings.preferred if via is not None else None,
            shared_load=self._load,
            qlog=on_log,
        )
        if self._qlogs is not None and on_log is not None:
            self._qlogs.follow(quic)
        self.counters.retry_tokens_accepted += retried is not None
        self.counters.new_tokens_accepted += isinstance(verdict, KnownAddress)
        connection = ServedConnection(quic, self, self._application, self._running_loop(), self._shared_deadlines())
        self._connections.add(connection)
        self.counters.connections_opened += 1
        connection.log.accepted(path, header.dcid)
        for cid in (header.dcid, *quic.host_cids):
            self.cid_issued(cid, connection)
        self._add_half_open(connection, path)
        connection.received(datagram, path, via)
        if not quic.has_heard_peer:
            self.counters.undecryptable_initials += 1
            connection.discard()
        elif verdict is not None:
            quic.prove_address()
            connection.log.address_validated("new_token" if retried is None else "retry")
        return connection

    def _add_half_open(self, connection: ServedConnection, path: Path) -> None:
        evicted = self._half_open.add(connection, network_of(path[0]), self._now())
        if evicted is not None:
            self.counters.half_open_evicted += 1
            evicted.refuse(QuicErrorCode.CONNECTION_REFUSED)
        self._await_handshakes()

    def _await_handshakes(self) -> None:
        oldest_at = self._half_open.oldest_at
        if oldest_at is not None and self._handshake_deadline is not None:
            self._handshake_deadline.set(oldest_at + self._handshake_timeout_s)

    @property
    def _handshake_timeout_s(self) -> float:
        settings = self._settings
        is_loaded = 2 * len(self._half_open) > settings.max_half_open
        timeout_s = settings.handshake_timeout_s
        return min(timeout_s, settings.loaded_handshake_timeout_s) if is_loaded else timeout_s

    def _expire_handshakes(self, now: float) -> None:
        for connection in self._half_open.take_expired(now, self._handshake_timeout_s):
            self.counters.handshake_timeouts += 1
            connection.log.timed_out("handshake")
            connection.discard()
        self._await_handshakes()

    # What connections ask of their owner

    def send(self, datagram: bytes, path: Path, forwarder: ProxyAddress | None) -> None:
        """Send to a client, on a forwarded path through `forwarder`, the load balancer of its last datagram."""
        if isinstance(path, ForwardedPath):
            if self._inner is not None and forwarder is not None:
                self._transmit(self._inner, path.spp_header + datagram, forwarder)
        elif self._public is not None:
            self._transmit(self._public, datagram, path)

    def flush_soon(self, connection: ServedConnection) -> None:
        """Flush the connection when the loop has delivered the datagrams that are waiting."""
        if not self._dirty:
            self._running_loop().call_soon(self._flush)
        self._dirty.append(connection)

    def cid_issued(self, cid: bytes, connection: ServedConnection) -> None:
        """Datagrams for `cid` are this connection's."""
        self._cid_table.add(cid, connection)
        connection.log.cid_issued(cid)

    def cid_retired(self, cid: bytes, connection: ServedConnection, after_s: float) -> None:
        """Forget `cid` once nothing sent to it can still be on its way; until then it must not be reset."""
        connection.log.cid_retired(cid)
        # by a weak reference: a timer must not keep a connection that has ended
        self._running_loop().call_later(after_s, self._forget_cid, cid, weakref.ref(connection))

    def _forget_cid(self, cid: bytes, reference: weakref.ref[ServedConnection]) -> None:
        connection = reference()
        if connection is not None:
            self._cid_table.remove(cid, connection)
            connection.log.cid_forgotten(cid)

    def handshake_completed(self, connection: ServedConnection) -> None:
        """The client's address is proven."""
        self.counters.handshakes_completed += 1
        self.counters.handshakes_resumed += connection.quic.is_resumed
        self.counters.early_data_accepted += connection.quic.has_early_data
        self._half_open.remove(connection)
        self._give_token(connection)
        quic = connection.quic
        self.cid_retired(quic.original_destination_connection_id, connection, 3 * quic.probe_timeout_s)

    def path_changed(self, connection: ServedConnection) -> None:
        """A client's new address was validated."""
        self.counters.path_changes += 1
        self._give_token(connection)

    def failed(self) -> None:
        self.counters.internal_errors += 1

    def ended(self, connection: ServedConnection, error_code: int | None) -> None:
        """The connection may be forgotten; `error_code` is a transport error's."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._half_open.remove(connection)
        self.counters.connections_closed += 1
        self.counters.packets_ignored += connection.quic.packets_ignored
        self.counters.datagram_frames_ignored += connection.quic.workload.datagram_frames_ignored
        if error_code is not None and connection.quic.has_found_fault:
            self.counters.protocol_errors += 1
        self._cid_table.remove_all(connection)

    def _give_token(self, connection: ServedConnection) -> None:
        """A later connection from the address that was proven needs no Retry."""
        path: Path | None = connection.quic.get_peer_address()
        if path is not None:
            connection.quic.send_new_token(self.credentials.address_tokens.new_token(path))

    # Datagrams out

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.flush()

    def _transmit(self, socket: UdpSocket, datagram: bytes, address: Path) -> None:
        counters = self.counters
        counters.datagrams_sent += 1
        counters.bytes_sent += len(datagram)
        socket.send(datagram, address)

    def _send_failed(self) -> None:
        self.counters.send_errors += 1

    def _now(self) -> float:
        return self._running_loop().time()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("the endpoint is not open: call open() first")
        return self._loop

    def _shared_deadlines(self) -> DeadlineQueue:
        if self._deadlines is None:
            raise RuntimeError("the endpoint is not open: call open() first")
        return self._deadlines
