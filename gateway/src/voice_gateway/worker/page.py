"""The browser page, as the settings want it; part of the composition root."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources

from quiclb.http.http1 import HostRule
from voice_gateway.certificates.served import ServedCertificate
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.web.page import PageFacts, voice_pages
from voice_gateway.web.server import Page
from voicelink.wire import VOICE_PATH


def pages_of(settings: GatewaySettings, certificate: ServedCertificate) -> Mapping[str, Page]:
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


def page_hosts(settings: GatewaySettings) -> HostRule | None:
    """With `development` the page gives the access token away, so it answers to loopback names and addresses alone."""
    page = settings.page
    return HostRule(loopback_only=True) if page is not None and page.development else None


def page_files() -> Mapping[str, bytes]:
    """The built page by file name; empty where `make web` has not built it."""
    folder = resources.files("voice_gateway.web").joinpath("static")
    if not folder.is_dir():
        return {}
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
