"""The composition root: settings in, a running worker out."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog
import uvloop

from quiclb.logs import writer as log_writer
from quiclb.net.address import Address, format_address
from voice_gateway.agent.base import Agent
from voice_gateway.agent.loading import load_agent, open_agent
from voice_gateway.certificates.served import ServedCertificate
from voice_gateway.endpoint.endpoint import Endpoint, EndpointSettings
from voice_gateway.endpoint.logs.qlog_recorder import QlogRecorder, QlogUnavailable
from voice_gateway.hosts.worker.agent import HostedAgent
from voice_gateway.ops.admin.access import AdminToken
from voice_gateway.ops.admin.call_operations import CallOperations
from voice_gateway.ops.admin.event_streams import EventStreams
from voice_gateway.ops.admin.operations import RequestRefused, routes_of
from voice_gateway.ops.admin.server import admin_server
from voice_gateway.ops.admin.table import AdminParts, admin_operations
from voice_gateway.ops.reload import Reloader, SettingsSource
from voice_gateway.ops.service_manager import ServiceManager
from voice_gateway.recording.library.reader_process import CallReader
from voice_gateway.session.core.session_limits import SessionLimits
from voice_gateway.session.core.speech.pacing import Lead
from voice_gateway.session.manager import SessionManager
from voice_gateway.settings.agent_section import AgentSection
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.settings.listener_sections import AdminSection
from voice_gateway.store.base import SessionStore
from voice_gateway.store.encoding import RecordCodec
from voice_gateway.store.factory import open_store
from voice_gateway.store.guarded import guarded
from voice_gateway.transport.webtransport import VoiceOverWebTransport
from voice_gateway.web.descriptors import HELD_BACK, DescriptorBudget, raise_descriptor_limit
from voice_gateway.web.server import MAX_CONNECTIONS
from voice_gateway.worker.access_control import AccessControl
from voice_gateway.worker.connection_ids import ConnectionIds
from voice_gateway.worker.listeners import TcpListeners, call_page_files
from voice_gateway.worker.loop_lag import LoopLag
from voice_gateway.worker.memory import Glibc, MemoryTrimmer
from voice_gateway.worker.metrics import AgentCollector, HostCollector, UpkeepCollector, worker_registry
from voice_gateway.worker.recordings import RecordingCollector, WebhookEvents, WorkerRecordings, webhook_sender
from voice_gateway.worker.shared_keys import SharedKeys, StoreKeys
from voicelink.quic import Connection

if TYPE_CHECKING:
    from voice_gateway.ops.telemetry import CallSpans  # needs the extra

_LAST_MESSAGES_S = 1.0
_OTLP_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_log = structlog.get_logger("voice_gateway.worker.worker")

GC_THRESHOLDS: Final = (20_000, 50, 50)
"""A handshake makes some thousand objects, few of which end in cycles: at Python's own 700 the collector would walk
them again and again. Up to 20,000 objects of cyclic garbage, some MB, may wait for it."""


def run(
    settings: GatewaySettings,
    on_start: Callable[[Worker], None] | None = None,
    source: SettingsSource | None = None,
    inherited: Mapping[str, socket.socket] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT, then let calls end, and return the exit status; a second signal exits at once.

    `on_start` is called once the worker takes sessions. On SIGHUP, and when files change, what can be is read again,
    the settings too if there is a `source`. `inherited` sockets are those of `Worker.start`: then a supervisor decides,
    and further signals change nothing. Raises `GatewayError` where it cannot start.
    """
    return uvloop.run(_serve(settings, on_start, source, inherited))


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a worker really listens; `None` where it does not."""

    direct: Address | None
    inner: Address | None
    admin: Address | None
    telephony: Address | None
    websocket: Address | None
    page: Address | None


class Worker:
    """A worker in the running event loop: `await start()`, later `await stop()`.

    `agent` and `store` replace those the settings name; the worker opens and closes them. `clock` gives seconds since
    1970, `rng` unpredictable bytes. `source` is where the settings are read again. The constructor raises
    `GatewayError` for settings that cannot be served.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        agent: Agent | None = None,
        store: SessionStore | None = None,
        source: SettingsSource | None = None,
        clock: Callable[[], float] = time.time,
        rng: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.settings = settings
        self._agent = agent or make_agent(settings.agent)
        codec = RecordCodec(settings.session.read_store_keys(), rng=rng)
        self._store = (
            open_store(settings.session.store, ttl_s=settings.session.record_ttl_s, clock=clock, codec=codec)
            if store is None
            else guarded(store)
        )
        self.access_control = AccessControl(settings, clock)
        self.recordings = WorkerRecordings(settings.worker.name, settings.recording, clock)
        self.sessions = SessionManager(
            settings.worker.name,
            self._agent,
            self._store,
            new_id=lambda: rng(16).hex(),
            new_token=lambda: rng(32).hex(),
            admission=self.access_control.admission,
            limits=_limits(settings),
            lead=Lead(settings.session.downlink_target_s, settings.session.downlink_cap_s),
            opus_complexity=settings.session.opus_complexity,
            recordings=self.recordings.recordings,
        )
        self.webhooks = webhook_sender(settings.webhooks, clock, rng)
        if self.webhooks is not None:
            self.sessions.events.subscribe(WebhookEvents(self.webhooks, settings.worker.name).take)
        self.certificate = ServedCertificate(settings.tls, clock)
        self.connection_ids = ConnectionIds(settings, rng)
        voice = VoiceOverWebTransport(self.sessions.accept)
        self.endpoint = Endpoint(
            _endpoint_settings(settings),
            self.certificate.identity,
            self.connection_ids.source,
            voice,
            handshakes=self.access_control.handshakes,
            wall_clock=clock,
            rng=rng,
        )
        self.certificate.follow(self.endpoint.renew_identity)
        self.descriptors = DescriptorBudget.of_process(_most_tcp_connections(settings))
        self.listeners = TcpListeners(
            settings,
            self.sessions.accept,
            self.certificate,
            self.access_control,
            self._store,
            self.descriptors.tcp_connections,
        )
        self.connection_ids.follow(self.endpoint.rotate_cids)
        keys, store_keys = SharedKeys(self.endpoint.credentials.adopt), StoreKeys(codec.renew)
        admin = settings.admin or AdminSection()
        admin_token = AdminToken(None if settings.admin is None else admin.read_token())
        parts = (self.certificate, self.access_control, self.connection_ids, keys, store_keys, admin_token)
        self.reloader = Reloader(settings, parts, source)
        registry = worker_registry(self.sessions, self.endpoint, voice.uplinks, self.listeners)
        self._lag = LoopLag()
        registry.register(UpkeepCollector(self.certificate, self.reloader, self._lag))
        if isinstance(self._agent, HostedAgent):
            registry.register(HostCollector(self._agent))
        else:
            registry.register(AgentCollector(self._agent))
        self._qlogs = QlogRecorder(self._find_quic)
        streams = EventStreams(self.sessions.events, has_words=admin.show_words, clock=clock)
        registry.register(RecordingCollector(self.recordings.writer, self.webhooks))
        calls = CallOperations(CallReader(settings.recording.folder, settings.recording.storage), call_page_files)
        operations = admin_operations(
            AdminParts(self.sessions, registry, streams, self.drain, self._record_qlog, calls)
        )
        self._admin = admin_server(routes_of(operations, admin_token), admin.hosts)
        self._admin_address: Address | None = None
        self._open: AsyncExitStack | None = None

    @property
    def addresses(self) -> Addresses:
        """Where the worker listens, once it was started."""
        endpoint, tcp = self.endpoint, self.listeners
        return Addresses(
            endpoint.address,
            endpoint.inner_address,
            self._admin_address,
            tcp.telephony_address,
            tcp.websocket_address,
            tcp.page_address,
        )

    async def discard(self) -> None:
        """Close what the constructor opened; for a worker that is not started."""
        await self._store.close()

    async def start(self, inherited: Mapping[str, socket.socket] | None = None) -> None:
        """Open the agent and the sockets; raises `GatewayError` and leaves nothing open.

        `inherited` are sockets that a supervisor has bound, by the setting that has the address, as `worker.listen`:
        a UDP socket, TCP sockets that listen for the others. The supervisor steers the datagrams of the first.
        """
        sockets = inherited or {}
        async with AsyncExitStack() as opened:
            opened.push_async_callback(self._store.close)
            opened.push_async_callback(self._agent.close)
            await open_agent(self._agent)
            self.sessions.agent_opened()
            opened.push_async_callback(self.recordings.stop)
            self.recordings.start()
            if self.webhooks is not None:
                opened.push_async_callback(asyncio.to_thread, self.webhooks.stop)
                self.webhooks.start()
            opened.push_async_callback(self.endpoint.close, "the worker stops")
            await self.endpoint.open(sockets.get("worker.listen"))
            opened.push_async_callback(self.listeners.stop)
            await self.listeners.start(sockets)
            if self.settings.admin is not None:
                opened.push_async_callback(self._admin.stop)
                tls = self.certificate.tls_context() if self.settings.admin.tls else None
                self._admin_address = await self._admin.start(
                    "admin.listen", self.settings.admin.listen, tls, inherited=sockets.get("admin.listen")
                )
            opened.callback(self.certificate.stop)
            self.certificate.start()
            opened.callback(self._lag.stop)
            self._lag.start()
            opened.callback(self.reloader.stop)
            self.reloader.start()
            self._open = opened.pop_all()

    async def stop(self, deadline_s: float | None = None) -> None:
        """Refuse new sessions, give callers until the deadline to end theirs, and close everything.

        The deadline is `session.drain_timeout_s` unless given. Calling it again, or before `start`, does nothing.
        """
        opened, self._open = self._open, None
        if opened is None:
            return
        async with opened:
            deadline_s = self.drain(deadline_s)
            await self.sessions.wait_empty(deadline_s)
            await self.sessions.close()
            await self._deliver_last_messages()

    def drain(self, deadline_s: float | None = None) -> float:
        """Refuse new sessions, and send callers elsewhere within the deadline that is returned; `stop` comes later."""
        deadline_s = self.settings.session.drain_timeout_s if deadline_s is None else deadline_s
        self.endpoint.stop_accepting()
        self.listeners.stop_accepting()
        self.sessions.drain(deadline_s)
        return deadline_s

    async def _record_qlog(self, connection: str, seconds: float) -> bytes:
        try:
            return await self._qlogs.record(connection, seconds)
        except QlogUnavailable as error:
            raise RequestRefused(HTTPStatus.CONFLICT, str(error)) from None

    def _find_quic(self, connection: str) -> Connection | None:
        served = self.endpoint.find(connection)
        return None if served is None else served.quic

    async def _deliver_last_messages(self) -> None:
        """Give the last messages of sessions a moment on the way before their connections end."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LAST_MESSAGES_S
        while loop.time() < deadline:  # an endpoint has no event to wait for
            if not (self.endpoint.connection_count or self.listeners.connection_count):
                return
            await asyncio.sleep(0.02)


def make_agent(section: AgentSection) -> Agent:
    """Return the agent in this process, or the one in hosts; raises `GatewayError`."""
    options = section.hosted()
    return load_agent(section.name, section.settings) if options is None else HostedAgent(options, section.name)


async def _serve(
    settings: GatewaySettings,
    on_start: Callable[[Worker], None] | None,
    source: SettingsSource | None,
    inherited: Mapping[str, socket.socket] | None,
) -> int:
    asked = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        if asked.is_set() and inherited is not None:
            return  # a service manager may ask all processes at once, and the supervisor each of them again
        if asked.is_set():
            _log.warning("worker_killed", signal=number.name)
            log_writer.flush()
            os._exit(128 + number)
        asked.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    agent = make_agent(settings.agent)
    spans = _call_spans(settings.worker.name, agent.name, loop.time)
    raise_descriptor_limit(_most_tcp_connections(settings) + HELD_BACK)
    worker = Worker(settings, agent=agent, source=source)
    if spans is not None:
        worker.sessions.events.subscribe(spans.on_event)
    await worker.start(inherited)
    loop.add_signal_handler(signal.SIGHUP, worker.reloader.reload)
    # models and modules stay for good: the collector need not walk them while calls are under way
    gc.collect()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.freeze()
    _log_start(worker)
    manager = ServiceManager(os.environ)
    manager.ready()
    if on_start:
        on_start(worker)
    libc = Glibc.of_process()
    trimmer = None if libc is None else MemoryTrimmer(libc)
    if trimmer is not None:
        trimmer.start()
    await asked.wait()
    if trimmer is not None:
        trimmer.stop()
    manager.stopping()
    _log.info("worker_draining", sessions=worker.sessions.count, deadline_s=settings.session.drain_timeout_s)
    await worker.stop()
    manager.close()
    if spans is not None:
        await loop.run_in_executor(None, spans.close)
    _log.info("worker_stopped")
    return 0


def _call_spans(worker: str, agent: str, loop_time: Callable[[], float]) -> CallSpans | None:
    """Where the environment says so, in OpenTelemetry's own variables, spans of calls are sent."""
    named = [name for name in _OTLP_ENDPOINTS if os.environ.get(name)]
    if not named or os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return None
    try:
        from voice_gateway.ops.telemetry import open_call_spans
    except ImportError:
        _log.warning("traces_not_sent", asked_by=named[0], remedy="pip install 'voice-gateway[otel]'")
        return None
    return open_call_spans(worker, agent, time.time, loop_time)


def _log_start(worker: Worker) -> None:
    settings, addresses = worker.settings, worker.addresses
    server_id = settings.server_id
    _log.info(
        "worker_started",
        name=settings.worker.name,
        server_id=None if server_id is None else server_id.hex(),
        direct=format_address(addresses.direct) if addresses.direct else None,
        inner=format_address(addresses.inner) if addresses.inner else None,
        admin=format_address(addresses.admin) if addresses.admin else None,
        telephony=format_address(addresses.telephony) if addresses.telephony else None,
        websocket=format_address(addresses.websocket) if addresses.websocket else None,
        page=format_address(addresses.page) if addresses.page else None,
        agent=settings.agent.name,
        descriptors=worker.descriptors.limit,
        tcp_connections=worker.descriptors.tcp_connections,
    )
    if _has_admin_token_in_clear(settings) and not _is_loopback(addresses.admin):
        _log.warning("admin_token_in_clear", remedy="set admin.tls, or let admin.listen be a loopback address")
    telephony = settings.telephony
    is_signed = telephony is not None and telephony.is_signed()
    reached = (
        addresses.direct,
        addresses.inner,
        addresses.websocket,
        addresses.page,
        None if is_signed else addresses.telephony,
    )
    bound = [address for address in reached if address]
    if settings.access.is_open and not all(map(_is_loopback, bound)):
        _log.warning("access_open_to_all", remedy="set access.key_files or access.token_file")


def _has_admin_token_in_clear(settings: GatewaySettings) -> bool:
    admin = settings.admin
    return admin is not None and admin.read_token() is not None and not admin.tls


def _is_loopback(address: Address | None) -> bool:
    return address is None or ipaddress.ip_address(address[0]).is_loopback


def _most_tcp_connections(settings: GatewaySettings) -> int:
    """As many as are worth having: a call of every session, and as many requests again."""
    return max(MAX_CONNECTIONS, 2 * settings.session.max_sessions)


def _limits(settings: GatewaySettings) -> SessionLimits:
    session = settings.session
    return SessionLimits(
        start_timeout_s=session.start_timeout_s,
        idle_timeout_s=session.idle_timeout_s,
        finish_timeout_s=session.finish_timeout_s,
        resume_window_s=session.resume_window_s,
    )


def _endpoint_settings(settings: GatewaySettings) -> EndpointSettings:
    worker, quic = settings.worker, settings.quic
    host, port = worker.listen or (None, 0)
    inner_host, inner_port = worker.inner or (None, 0)
    return EndpointSettings(
        host=host,
        port=port,
        inner_host=inner_host,
        inner_port=inner_port,
        trusted_proxies=worker.trusted_proxies,
        preferred=worker.preferred_address(),
        secrets=quic.read_secrets(),
        retry_after_half_open=quic.retry_after_half_open,
        max_half_open=quic.max_half_open,
        max_connections=quic.max_connections,
        handshake_timeout_s=quic.handshake_timeout_s,
        loaded_handshake_timeout_s=quic.loaded_handshake_timeout_s,
        idle_timeout_s=quic.idle_timeout_s,
        qlog_folder=quic.qlog_folder,
        qlog_max_bytes=quic.qlog_max_bytes,
        qlog_sample=quic.qlog_sample,
        resets_for_lost_servers=quic.resets_for_lost_servers and quic.read_reset_key() is not None,
    )
