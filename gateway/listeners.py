"""A worker's listeners on TCP, as its settings want them: telephone calls, WebSockets, and the page for browsers."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources

from gateway.config import GatewaySettings, PageSection, TelephonySection, WebSocketSection
from gateway.errors import IdentityError
from gateway.quic.tls import TlsIdentity
from gateway.transport.base import Acceptor
from gateway.transport.twilio.counters import TelephonyCounters
from gateway.transport.twilio.service import STREAM_PATH, TWIML_PATH, TelephonyService
from gateway.transport.twilio.signature import SignatureCheck
from gateway.transport.websocket import MAX_MESSAGE_OCTETS, VoiceOverWebSocket
from gateway.web.page import PageFacts, voice_pages
from gateway.web.server import WebServer
from gateway.wire import VOICE_PATH
from quiclb.address import Address


class TcpListeners:
    """`start` those the settings name, `stop_accepting` to drain, `stop` in the end; part of the composition root."""

    def __init__(self, settings: GatewaySettings, identity: TlsIdentity, accept: Acceptor) -> None:
        self.telephony_counters = TelephonyCounters()
        self.telephony_address: Address | None = None
        self.websocket_address: Address | None = None
        self.page_address: Address | None = None
        self._settings = settings
        self._telephony = _telephony(settings, accept, self.telephony_counters)
        sockets = {VOICE_PATH: VoiceOverWebSocket(accept)}
        self._websocket = WebServer({}, sockets, max_message_octets=MAX_MESSAGE_OCTETS)
        page = settings.page
        pages = {} if page is None else voice_pages(page_files(), _page_facts(page, settings, identity))
        self._page = WebServer(pages, sockets, max_message_octets=MAX_MESSAGE_OCTETS)

    @property
    def connection_count(self) -> int:
        """How many connections there are."""
        return sum(server.connection_count for server in self._servers)

    async def start(self) -> None:
        """Listen; raises `GatewayError`, call `stop` then too."""
        telephony, websocket, page = self._settings.telephony, self._settings.websocket, self._settings.page
        if telephony is not None:
            tls = self._tls(telephony)
            self.telephony_address = await self._telephony.start("telephony.listen", telephony.listen, tls)
        if websocket is not None:
            tls = self._tls(websocket)
            self.websocket_address = await self._websocket.start("websocket.listen", websocket.listen, tls)
        if page is not None:
            tls = self._tls(page)
            self.page_address = await self._page.start("page.listen", page.listen, tls, is_shared=page.shared_port)

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
        if not section.tls:
            return None
        files = self._settings.tls
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(files.certificate, files.key)
        except OSError as error:
            raise IdentityError(f"{files.certificate}: {(error.strerror or str(error)).lower()}") from None
        return context


def page_files() -> Mapping[str, bytes]:
    """The built page by file name; empty where `make web` has not built it."""
    folder = resources.files("gateway.web").joinpath("static")
    if not folder.is_dir():
        return {}
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


def _page_facts(page: PageSection, settings: GatewaySettings, identity: TlsIdentity) -> PageFacts:
    direct = settings.worker.listen
    facts = PageFacts(voice_path=VOICE_PATH, voice_url=page.voice_url, voice_port=None if direct is None else direct[1])
    if not page.development:
        return facts
    return replace(
        facts,
        certificate_hashes=(base64.b64encode(identity.fingerprint_sha256).decode(),),
        certificate_expires=f"{identity.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        token=settings.access.read_token(),
        demo_url=page.demo_url,
    )


def _telephony(settings: GatewaySettings, accept: Acceptor, counters: TelephonyCounters) -> WebServer:
    telephony = settings.telephony
    if telephony is None:
        return WebServer({}, {})
    auth_token, shared_key = telephony.read_auth_token(), telephony.read_shared_key()
    service = TelephonyService(
        accept,
        counters,
        public_url=telephony.public_url,
        signatures=SignatureCheck(auth_token, shared_key) if auth_token or shared_key else None,
        access_token=settings.access.read_token(),
        has_tls=telephony.tls,
    )
    return WebServer({TWIML_PATH: service.twiml}, {STREAM_PATH: service.stream})
