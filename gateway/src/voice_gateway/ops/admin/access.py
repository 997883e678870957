"""Who may use the operations of the admin interface that need a token."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

import structlog

from quiclb.logs.limits import LimitedLog
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.web.server import WebRequest

_log = LimitedLog(structlog.get_logger("voice_gateway.ops.admin"))


@dataclass(frozen=True, slots=True)
class TokenRefusal:
    """Why a request is not answered, and what it may try instead."""

    status: HTTPStatus
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict)


class AdminToken:
    """The token of the admin interface, read again when its file changes; without one nothing that needs it is served.

    It comes as `Authorization: Bearer TOKEN`, or from browsers, which ask for a name and a password, as the password
    of `Basic` with any name. A browser adds a password that it knows to requests of pages elsewhere, too: one with an
    `Origin` must be of the page's own server. `HostRule` is not enough, as it takes pages of every IP address.
    """

    name: str = "admin_token"

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()

    def files(self, settings: GatewaySettings) -> Iterable[Path]:
        admin = settings.admin
        return () if admin is None or admin.token_file is None else (admin.token_file,)

    def reload(self, settings: GatewaySettings) -> None:
        token = None if settings.admin is None else settings.admin.read_token()
        self._token = None if token is None else token.encode()

    def refusal(self, request: WebRequest) -> TokenRefusal | None:
        """Return why the request is refused; `None` where it has the token."""
        if self._token is None:
            return _OFF
        if not _is_same_origin(request.headers):
            return _OTHER_ORIGIN
        given = _given(request.headers.get("authorization", ""))
        if given is not None and hmac.compare_digest(given, self._token):
            return None
        if given is not None:
            _log.warning("admin_token_refused", peer=request.peer, path=request.path)
        return _UNKNOWN


def _is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether no page asks, or one of this server (RFC 6454 section 7); browsers name the page of every POST."""
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == headers.get("host", "").lower()


def _given(authorization: str) -> bytes | None:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("utf-8", "replace")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


_OFF: Final = TokenRefusal(HTTPStatus.FORBIDDEN, "this is off: give the worker admin.token_file, a file with a token")
_OTHER_ORIGIN: Final = TokenRefusal(
    HTTPStatus.FORBIDDEN, "pages of another Origin may not ask: leave Origin out, or ask from a page of this server"
)
_UNKNOWN: Final = TokenRefusal(
    HTTPStatus.UNAUTHORIZED,
    "this needs the token of admin.token_file as `Authorization: Bearer TOKEN`",
    {
        "WWW-Authenticate": 'Basic realm="voice-gateway admin", charset="UTF-8"'
    },  # Chromium looks at the first challenge alone
)
