"""What a worker serves to Twilio: the TwiML that a call begins with, and the stream that it names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, parse_qsl, urlencode

import structlog

from gateway.transport.base import Acceptor
from gateway.transport.twilio.counters import TelephonyCounters
from gateway.transport.twilio.signature import SignatureCheck
from gateway.transport.twilio.transport import AGENT_PARAMETER, TOKEN_PARAMETER, TwilioCall
from gateway.transport.twilio.twiml import EMPTY_RESPONSE, connect_stream
from gateway.web.server import WebRequest, WebResponse
from gateway.web.websocket import WebSocket
from gateway.wire import VOICE_PATH
from quiclb.log_limits import LimitedLog

STREAM_PATH: Final = "/v1/twilio"
TWIML_PATH: Final = "/twiml"
MOST_RECONNECTIONS: Final = 10
"""How often a call whose stream broke is joined to a new one before it ends."""
MAX_FORM_FIELDS: Final = 256
"""Twilio sends some forty; sorting many thousands for a signature takes long."""
_log = LimitedLog(structlog.get_logger("gateway.telephony"))


@dataclass(frozen=True, slots=True)
class TelephonyService:
    """The pages and the socket of a worker's telephony, by `STREAM_PATH` and `TWIML_PATH`.

    `public_url` is what Twilio calls, as `https://gateway.example.com`; without it, the request's host is believed.
    `signatures` None lets anybody in that `accept` lets in. `access_token` makes one by the call's SID, `None` where
    none is needed; it goes into the TwiML of signed requests, so that the stream can show it.
    """

    accept: Acceptor
    counters: TelephonyCounters
    public_url: str | None = None
    signatures: SignatureCheck | None = None
    access_token: Callable[[str], str | None] = lambda call_sid: None
    has_tls: bool = True

    def stream(self, request: WebRequest, socket: WebSocket) -> TwilioCall | WebResponse:
        """Take the WebSocket of a call (`gateway.web.server.Upgrade`)."""
        if not self._is_genuine(request, _as_socket(self._base(request))):
            return _FORBIDDEN
        is_signed = self.signatures is not None
        return TwilioCall(socket, VOICE_PATH, request.peer, self.accept, self.counters, is_signed=is_signed)

    def twiml(self, request: WebRequest) -> WebResponse:
        """Answer Twilio's question what to do with a call (`gateway.web.server.Page`).

        The query may name an `agent`. `again` counts how often the stream was lost.
        """
        base = self._base(request)
        if not self._is_genuine(request, base):
            return _FORBIDDEN
        self.counters.twiml_pages += 1
        query = parse_qs(request.query)
        again = _count(query.get("again", ["0"])[0])
        if _is_over(request) or again > MOST_RECONNECTIONS:
            return WebResponse(HTTPStatus.OK, EMPTY_RESPONSE, _XML)
        agent = {name: value for name, (value, *_) in query.items() if name == AGENT_PARAMETER}
        parameters = dict(agent)
        token = self.access_token(dict(_form(request)).get("CallSid", "")) if self.signatures is not None else None
        if token is not None:
            parameters[TOKEN_PARAMETER] = token
        action = f"{base}{TWIML_PATH}?{urlencode(agent | {'again': again + 1})}"
        document = connect_stream(f"{_as_socket(base)}{STREAM_PATH}", parameters, action)
        return WebResponse(HTTPStatus.OK, document, _XML)

    def _is_genuine(self, request: WebRequest, base: str) -> bool:
        if self.signatures is None:
            return True
        if self.signatures.is_genuine(f"{base}{request.target}", _form(request), request.headers):
            return True
        self.counters.refused_signatures += 1
        _log.warning("twilio_signature_refused", peer=request.peer, path=request.path)
        return False

    def _base(self, request: WebRequest) -> str:
        if self.public_url is not None:
            return self.public_url
        return f"{'https' if self.has_tls else 'http'}://{request.headers.get('host', 'localhost')}"


def _as_socket(base: str) -> str:
    return f"ws{base.removeprefix('http')}"


def _form(request: WebRequest) -> list[tuple[str, str]]:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return []
    text = request.body.decode("latin-1")
    return parse_qsl(text, keep_blank_values=True) if text.count("&") < MAX_FORM_FIELDS else []


def _is_over(request: WebRequest) -> bool:
    return dict(_form(request)).get("CallStatus") in ("completed", "busy", "failed", "no-answer", "canceled")


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0


_XML: Final = "text/xml; charset=utf-8"
_FORBIDDEN: Final = WebResponse(HTTPStatus.FORBIDDEN, "this request is not signed by Twilio\n")
