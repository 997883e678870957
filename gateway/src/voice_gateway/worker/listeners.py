"""A worker's listeners on TCP, as its settings want them: telephone calls, WebSockets, and the page for browsers."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TypedDict

from quiclb.http.connection_limiter import ConnectionLimiter, ConnectionLimits
from quiclb.http.http1 import HostRule
from quiclb.http.listener import TcpConnection, Turns
from quiclb.net.address import Address
from voice_gateway.certificates.served import ServedCertificate
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.settings.listener_sections import PageSection, TelephonySection, WebSocketSection
from voice_gateway.store.base import SessionStore
from voice_gateway.store.once import claim_once
from voice_gateway.telephony.call import TelephonyCounters
from voice_gateway.telephony.loading import load_vendor
from voice_gateway.telephony.service import TelephonyService
from voice_gateway.telephony.vendor import VendorSecrets
from voice_gateway.transport.base import Acceptor
from voice_gateway.transport.websocket import MAX_MESSAGE_BYTES, VoiceOverWebSocket
from voice_gateway.web.counters import WebCounters
from voice_gateway.web.page import PageFacts, voice_pages
from voice_gateway.web.server import PARTS_PER_TURN, Page, Route, WebServer, connection_limiter
from voice_gateway.worker.access_control import AccessControl
from voicelink.wire import VOICE_PATH


class _Shared(TypedDict):
    """What the three servers have in common."""

    limiter: ConnectionLimiter[TcpConnection]
    counters: WebCounters
    turns: Turns


class TcpListeners:
    """`start` those the settings name, `stop_accepting` to drain, `stop` in the end; part of the composition root.

    Together they have at most `tcp_connections` at once.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        accept: Acceptor,
        certificate: ServedCertificate,
        access_control: AccessControl,
        store: SessionStore,
        tcp_connections: int,
    ) -> None:
        self.web_counters = WebCounters()
        self.telephony_counters = TelephonyCounters()
        self.telephony_address: Address | None = None
        self.websocket_address: Address | None = None
        self.page_address: Address | None = None
        self._settings = settings
        self._certificate = certificate
        self.limiter = connection_limiter(
            ConnectionLimits.share(tcp_connections, settings.limits.address_tcp_connections)
        )
        shared = _Shared(limiter=self.limiter, counters=self.web_counters, turns=Turns(PARTS_PER_TURN))
        self._telephony = _telephony(settings, accept, self.telephony_counters, access_control, store, shared)
        sockets = {VOICE_PATH: VoiceOverWebSocket(accept)}
        self._websocket = WebServer({}, sockets, max_message_bytes=MAX_MESSAGE_BYTES, **shared)
        pages, hosts = _pages(settings, certificate), _page_hosts(settings)
        self._page = WebServer(pages, sockets, hosts=hosts, max_message_bytes=MAX_MESSAGE_BYTES, **shared)

    @property
    def connection_count(self) -> int:
        return sum(server.connection_count for server in self._servers)

    async def start(self, inherited: Mapping[str, socket.socket] | None = None) -> None:
        """Listen, where there is one on the `inherited` socket of that setting; raises `GatewayError`.

        Call `stop` then too.
        """
        telephony, websocket, page = self._settings.telephony, self._settings.websocket, self._settings.page
        sockets = inherited or {}
        if telephony is not None:
            key, tls = "telephony.listen", self._tls(telephony)
            self.telephony_address = await self._telephony.start(key, telephony.listen, tls, inherited=sockets.get(key))
        if websocket is not None:
            key, tls = "websocket.listen", self._tls(websocket)
            self.websocket_address = await self._websocket.start(key, websocket.listen, tls, inherited=sockets.get(key))
        if page is not None:
            key, tls = "page.listen", self._tls(page)
            self.page_address = await self._page.start(
                key, page.listen, tls, is_shared=page.shared_port, inherited=sockets.get(key)
            )

    def stop_accepting(self) -> None:
        """Take no further connection; those there are go on."""
        for server in self._servers:
            server.stop_accepting()

    async def stop(self) -> None:
        """Close; connections that are left are cut off."""
        for server in self._servers:
            await server.stop()

    @property
    def _servers(self) -> tuple[WebServer, ...]:
        return self._telephony, self._websocket, self._page

    def _tls(self, section: TelephonySection | WebSocketSection | PageSection) -> ssl.SSLContext | None:
        return self._certificate.tls_context() if section.tls else None


def _telephony(
    settings: GatewaySettings,
    accept: Acceptor,
    counters: TelephonyCounters,
    access_control: AccessControl,
    store: SessionStore,
    shared: _Shared,
) -> WebServer:
    telephony = settings.telephony
    if telephony is None:
        return WebServer({}, {}, **shared)
    vendor = load_vendor(telephony.vendor)(VendorSecrets(telephony.read_auth_token(), telephony.read_shared_key()))
    service = TelephonyService(
        vendor,
        accept,
        counters,
        public_url=telephony.public_url,
        access_token=access_control.telephone_token,
        needs_access_token=lambda: access_control.asks_for_tokens,
        claim_use=partial(claim_once, store, settings.worker.name),
        has_tls=telephony.tls,
    )
    routes = [Route(method, vendor.webhook_path, service.webhook) for method in ("GET", "POST")]
    return WebServer({}, {vendor.stream_path: service.stream}, routes=routes, **shared)


def _pages(settings: GatewaySettings, certificate: ServedCertificate) -> Mapping[str, Page]:
    """Return what the listener of `[page]` serves, by path; nothing without that section."""
    page, direct = settings.page, settings.worker.listen
    if page is None:
        return {}
    facts = PageFacts(voice_path=VOICE_PATH, voice_url=page.voice_url, voice_port=None if direct is None else direct[1])
    if not page.development:
        return voice_pages(page_files(), lambda: facts)
    facts = replace(facts, token=settings.access.read_token(), demo_url=page.demo_url)

    def with_certificate() -> PageFacts:
        identity = certificate.identity
        return replace(
            facts,
            certificate_hashes=(base64.b64encode(identity.fingerprint_sha256).decode(),),
            certificate_expires=f"{identity.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        )

    return voice_pages(page_files(), with_certificate)


def _page_hosts(settings: GatewaySettings) -> HostRule | None:
    """With `development` the page gives the access token away, so it answers to loopback names and addresses alone."""
    page = settings.page
    return HostRule(loopback_only=True) if page is not None and page.development else None


def page_files() -> Mapping[str, bytes]:
    """The built page by file name; empty where `make web` has not built it."""
    return _files(resources.files("voice_gateway.web").joinpath("static"))


def call_page_files() -> Mapping[str, bytes]:
    """The built page of recorded calls by file name; empty where `make web` has not built it."""
    return _files(resources.files("voice_gateway.web").joinpath("static", "calls"))


def _files(folder: Traversable) -> Mapping[str, bytes]:
    if not folder.is_dir():
        return {}
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
