"""What a worker serves to Twilio: the TwiML that a call begins with, and the stream that it names."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, parse_qsl, urlencode

import structlog

from quiclb.logs.limits import LimitedLog
from voice_gateway.telephony.call import AGENT_PARAMETER, TOKEN_PARAMETER, TwilioCall, Vouched
from voice_gateway.telephony.counters import TelephonyCounters
from voice_gateway.telephony.replays import Uses, Webhooks, use_of
from voice_gateway.telephony.stream_token import STREAM_TOKEN_PARAMETER
from voice_gateway.telephony.vendors.twilio.signature import SIGNATURE_HEADER, SignatureCheck
from voice_gateway.telephony.vendors.twilio.twiml import EMPTY_RESPONSE, connect_stream
from voice_gateway.transport.base import Acceptor
from voice_gateway.web.server import WebRequest, WebResponse
from voice_gateway.web.websocket import WebSocket
from voicelink.wire import VOICE_PATH

STREAM_PATH: Final = "/v1/twilio"
TWIML_PATH: Final = "/twiml"
IDEMPOTENCY_HEADER: Final = "i-twilio-idempotency-token"
MOST_RECONNECTIONS: Final = 10
"""How often a call whose stream broke is joined to a new one before it ends."""
MAX_FORM_FIELDS: Final = 256
"""Twilio sends some forty; sorting many thousands for a signature takes long."""
_log = LimitedLog(structlog.get_logger("gateway.telephony"))


async def _claim_here(use: str) -> bool:
    return True


@dataclass(slots=True)
class TelephonyService:
    """The pages and the socket of a worker's telephony, by `STREAM_PATH` and `TWIML_PATH`.

    `public_url` is what Twilio calls, as `https://gateway.example.com`; without it, the request's host is believed.
    `signatures` None lets anybody in that `accept` lets in. With it, each signed webhook is answered once, with a
    stream token that opens one stream for the SID of its call; `claim_use` says whether a use is the first at all
    workers. `access_token` is what `accept` wants to see of such a call, by its SID, `None` where none is needed; it
    does not leave the worker. A stream without a stream token, of TwiML of the operator's own, needs an access token:
    `needs_access_token` says whether `accept` asks for one. `clock` gives seconds since 1970.
    """

    accept: Acceptor
    counters: TelephonyCounters
    public_url: str | None = None
    signatures: SignatureCheck | None = None
    access_token: Callable[[str], str | None] = lambda call_sid: None
    needs_access_token: Callable[[], bool] = lambda: False
    claim_use: Callable[[str], Awaitable[bool]] = _claim_here
    has_tls: bool = True
    clock: Callable[[], float] = time.time
    _webhooks: Webhooks[WebResponse] = field(default_factory=Webhooks, init=False)
    _streams: Uses = field(default_factory=Uses, init=False)

    def stream(self, request: WebRequest, socket: WebSocket) -> TwilioCall | WebResponse:
        """Take the WebSocket of a call (`voice_gateway.web.server.Upgrade`)."""
        if not self._is_genuine(request, _as_socket(self._base(request))):
            return _FORBIDDEN
        is_signed = self.signatures is not None
        return TwilioCall(
            socket,
            VOICE_PATH,
            request.peer,
            self.accept,
            self.counters,
            is_signed=is_signed,
            vouch=self._vouch if is_signed else None,
        )

    def twiml(self, request: WebRequest) -> WebResponse:
        """Answer Twilio's question what to do with a call (`voice_gateway.web.server.Page`).

        The query may name an `agent`. `again` counts how often the stream was lost.
        """
        base = self._base(request)
        if not self._is_genuine(request, base):
            return _FORBIDDEN
        if self.signatures is None:
            return self._answer(request, base, None)
        use = use_of(request.headers.get(SIGNATURE_HEADER, ""))
        idempotency_token = request.headers.get(IDEMPOTENCY_HEADER, "")
        now = self.clock()
        if self._webhooks.is_new(use, now):
            answer = self._answer(request, base, use)
            self._webhooks.answered(use, idempotency_token, answer, now)
            return answer
        repeated = self._webhooks.repeated(use, idempotency_token)
        if repeated is None:
            self.counters.refused_replays += 1
            _log.warning("twilio_webhook_replayed", peer=request.peer, path=request.path)
            return _REPLAYED
        return repeated

    def _answer(self, request: WebRequest, base: str, use: str | None) -> WebResponse:
        self.counters.twiml_pages += 1
        query = parse_qs(request.query)
        again = _count(query.get("again", ["0"])[0])
        said = {name: value for name, (value, *_) in query.items()} | dict(_form(request))
        if said.get("CallStatus") in _OVER or again > MOST_RECONNECTIONS:
            return WebResponse(HTTPStatus.OK, EMPTY_RESPONSE, _XML)
        agent = {AGENT_PARAMETER: said[AGENT_PARAMETER]} if AGENT_PARAMETER in query else {}
        parameters = dict(agent)
        if use is not None and self.signatures is not None:
            call_sid = said.get("CallSid")
            if not call_sid:
                return _NO_CALL
            parameters[STREAM_TOKEN_PARAMETER] = self.signatures.stream_tokens.make(call_sid, use, self.clock())
        action = f"{base}{TWIML_PATH}?{urlencode(agent | {'again': again + 1})}"
        document = connect_stream(f"{_as_socket(base)}{STREAM_PATH}", parameters, action)
        return WebResponse(HTTPStatus.OK, document, _XML)

    async def _vouch(self, call_sid: str, parameters: Mapping[str, str]) -> Vouched | None:
        """Say what speaks for the stream of a call, by the parameters of its `start`; `None` where nothing does."""
        token = parameters.get(STREAM_TOKEN_PARAMETER)
        if token is None:
            fault = None if self.needs_access_token() else "it has no stream token"
            vouched = Vouched(parameters.get(TOKEN_PARAMETER), is_key_signed=False)
        else:
            fault = await self._redeem(token, call_sid)
            vouched = Vouched(self.access_token(call_sid) if fault is None else None, is_key_signed=True)
        if fault is None:
            return vouched
        self.counters.refused_streams += 1
        _log.warning("twilio_stream_refused", call=call_sid, reason=fault)
        return None

    async def _redeem(self, token: str, call_sid: str) -> str | None:
        """Use up a stream token; return what is wrong with it."""
        now = self.clock()
        use = None if self.signatures is None else self.signatures.stream_tokens.check(token, call_sid, now)
        if use is None:
            return "its stream token has expired or is another call's"
        if not self._streams.take(use, now) or not await self.claim_use(use):
            return "its stream token was used before"
        return None

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


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0


_OVER: Final = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
_XML: Final = "text/xml; charset=utf-8"
_FORBIDDEN: Final = WebResponse(HTTPStatus.FORBIDDEN, "this request is not signed by Twilio\n")
_REPLAYED: Final = WebResponse(HTTPStatus.FORBIDDEN, "this request was answered before\n")
_NO_CALL: Final = WebResponse(HTTPStatus.BAD_REQUEST, "a webhook of a call names its CallSid\n")
