"""The page that calls this gateway from a browser: what it may do, and what it has to know to call."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from voice_gateway.web.assets import asset_pages
from voice_gateway.web.server import Page, WebRequest, WebResponse

CONFIG_PATH: Final = "/config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFacts:
    """What `/config.json` says to a page; `voice_url` None is `voice_port` on the host that the page came from.

    `certificate_hashes` are SHA-256 in base64, as browsers pin them; `certificate_expires` is in ISO 8601. They and
    `token` and `demo_url` are for development.
    """

    voice_path: str
    voice_url: str | None = None
    voice_port: int | None = None
    certificate_hashes: tuple[str, ...] = ()
    certificate_expires: str | None = None
    token: str | None = field(default=None, repr=False)
    demo_url: str | None = None


def voice_pages(files: Mapping[str, bytes], facts_now: Callable[[], PageFacts]) -> dict[str, Page]:
    """Return the pages of a `WebServer`, by path: the files, and `/config.json` with what is so now."""

    def headers(request: WebRequest) -> dict[str, str]:
        facts = facts_now()
        return _SECURITY | {"Content-Security-Policy": _policy(_voice_url(facts, request), facts.demo_url)}

    def config(request: WebRequest) -> WebResponse:
        facts = facts_now()
        document = {
            "voice_url": _voice_url(facts, request),
            "web_socket_path": facts.voice_path,
            "certificate_hashes": list(facts.certificate_hashes),
            "certificate_expires": facts.certificate_expires,
            "token": facts.token,
            "demo_url": facts.demo_url,
        }
        return WebResponse(HTTPStatus.OK, json.dumps(document), "application/json", headers(request))

    pages: dict[str, Page] = asset_pages(files, headers) if files else {"/": _not_built}
    pages[CONFIG_PATH] = config
    return pages


def _voice_url(facts: PageFacts, request: WebRequest) -> str | None:
    if facts.voice_url is not None:
        return facts.voice_url
    host = _HOST.fullmatch(request.headers.get("host", ""))
    return f"https://{host['name']}:{facts.voice_port}{facts.voice_path}" if host else None


def _policy(voice_url: str | None, demo_url: str | None) -> str:
    """The page loads what is its own, and speaks to this gateway alone."""
    called = [url for url in (voice_url, demo_url) if url is not None]
    return _POLICY + " ".join(("connect-src 'self'", *("/".join(url.split("/")[:3]) for url in called)))


def _not_built(request: WebRequest) -> WebResponse:
    return WebResponse(HTTPStatus.SERVICE_UNAVAILABLE, "this gateway was installed without its page: run `make web`\n")


_HOST: Final = re.compile(r"(?P<name>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; manifest-src 'self'; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
)
_SECURITY: Final = {
    # these two make the page "cross-origin isolated", without which there is no memory shared with the audio thread
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
