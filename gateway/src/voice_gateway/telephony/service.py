"""What a worker serves to a telephony vendor: the answer to a webhook, and the media stream that it names."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, parse_qsl, urlencode

import structlog

from quiclb.logs.limits import LimitedLog
from voice_gateway.telephony.call import AGENT_PARAMETER, TOKEN_PARAMETER, TelephoneCall, TelephonyCounters, Vouched
from voice_gateway.telephony.ended_calls import EndedCalls
from voice_gateway.telephony.replay_protection import STREAM_TOKEN_PARAMETER, StreamTokens, Uses, Webhooks, use_of
from voice_gateway.telephony.vendor import Document, Vendor, Webhook
from voice_gateway.transport.base import Acceptor
from voice_gateway.web.server import WebRequest, WebResponse
from voice_gateway.web.websocket import WebSocket
from voicelink.wire import VOICE_PATH

MOST_RECONNECTIONS: Final = 10
"""How often a call whose stream broke is joined to a new one before it ends."""
MAX_FORM_FIELDS: Final = 256
"""A vendor sends some forty; sorting many thousands for a signature takes long."""
_log = LimitedLog(structlog.get_logger("gateway.telephony"))


async def _claim_here(use: str) -> bool:
    return True


@dataclass(slots=True)
class TelephonyService:
    """The webhook and the WebSocket of a worker's telephony, at the vendor's `webhook_path` and `stream_path`.

    `public_url` is what the vendor calls, as `https://gateway.example.com`; by default the request's host. If the
    vendor has no secrets, every request that `accept` allows is taken. With secrets, each signed webhook is answered
    once, with a stream token that opens one stream for the SID of its call; `claim_use` says whether a use is the first
    at all workers. `access_token` is what `accept` wants to see of such a call, by its SID, `None` where none is
    needed; it does not leave the worker. A stream without a stream token, of an answer document of the operator's own,
    needs an access token: `needs_access_token` says whether `accept` asks for one. `clock` gives seconds since 1970.
    """

    vendor: Vendor
    accept: Acceptor
    counters: TelephonyCounters
    public_url: str | None = None
    access_token: Callable[[str], str | None] = lambda call_sid: None
    needs_access_token: Callable[[], bool] = lambda: False
    claim_use: Callable[[str], Awaitable[bool]] = _claim_here
    has_tls: bool = True
    clock: Callable[[], float] = time.time
    _webhooks: Webhooks[WebResponse] = field(default_factory=Webhooks, init=False)
    _streams: Uses = field(default_factory=Uses, init=False)
    _stream_tokens: StreamTokens = field(init=False)
    _ended: EndedCalls = field(default_factory=EndedCalls, init=False)

    def __post_init__(self) -> None:
        secrets = self.vendor.secrets
        self._stream_tokens = StreamTokens(secrets.auth_token or secrets.shared_key or "")

    @property
    def is_signed(self) -> bool:
        """Whether requests must be signed by the vendor."""
        return bool(self.vendor.secrets)

    def stream(self, request: WebRequest, socket: WebSocket) -> TelephoneCall | WebResponse:
        """Take the WebSocket of a call (`voice_gateway.web.server.Upgrade`)."""
        if not self._is_genuine(request, _as_socket(self._base(request))):
            return _forbidden(self.vendor)
        call = TelephoneCall(
            self.vendor,
            socket,
            VOICE_PATH,
            request.peer,
            self.accept,
            self.counters,
            is_signed=self.is_signed,
            vouch=self._vouch if self.is_signed else None,
        )
        call.on_ended = lambda call_id, target: self._ended.ended(call_id, target, self.clock())
        return call

    def webhook(self, request: WebRequest) -> WebResponse:
        """Answer the vendor's question what to do with a call (`voice_gateway.web.server.Page`).

        The query may name an `agent`. `again` counts how often the stream ended. A call that the agent ended at this
        worker is hung up or transferred.
        """
        base = self._base(request)
        if not self._is_genuine(request, base):
            return _forbidden(self.vendor)
        query = {name: value for name, (value, *_) in parse_qs(request.query).items()}
        fields = query | dict(_form(request))
        webhook = self.vendor.webhook(fields, request.headers)
        agent = {AGENT_PARAMETER: fields[AGENT_PARAMETER]} if AGENT_PARAMETER in query else {}
        again = _count(query.get("again", "0"))
        if not self.is_signed:
            return self._answer(webhook, base, agent, again, None)
        use = use_of(request.headers.get(self.vendor.signature_header, ""))
        now = self.clock()
        if self._webhooks.is_new(use, now):
            answer = self._answer(webhook, base, agent, again, use)
            self._webhooks.answered(use, webhook.idempotency_token, answer, now)
            return answer
        repeated = self._webhooks.repeated(use, webhook.idempotency_token)
        if repeated is None:
            self.counters.refused_replays += 1
            _log.warning(f"{self.vendor.name}_webhook_replayed", peer=request.peer, path=request.path)
            return _REPLAYED
        return repeated

    def _answer(
        self, webhook: Webhook, base: str, agent: Mapping[str, str], again: int, use: str | None
    ) -> WebResponse:
        self.counters.twiml_pages += 1
        if webhook.is_over or again > MOST_RECONNECTIONS:
            return _page(self.vendor.hang_up())
        ended = self._ended.take(webhook.call_id, self.clock()) if again else None
        if ended is not None:
            return _page(self.vendor.hang_up() if ended.target is None else self.vendor.transfer(ended.target))
        parameters = dict(agent)
        if use is not None:
            if webhook.call_id is None:
                return _NO_CALL
            parameters[STREAM_TOKEN_PARAMETER] = self._stream_tokens.make(webhook.call_id, use, self.clock())
        again_url = f"{base}{self.vendor.webhook_path}?{urlencode({**agent, 'again': again + 1})}"
        return _page(self.vendor.connect(f"{_as_socket(base)}{self.vendor.stream_path}", parameters, again_url))

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
        _log.warning(f"{self.vendor.name}_stream_refused", call=call_sid, reason=fault)
        return None

    async def _redeem(self, token: str, call_sid: str) -> str | None:
        """Use up a stream token; return what is wrong with it."""
        now = self.clock()
        use = self._stream_tokens.check(token, call_sid, now) if self.is_signed else None
        if use is None:
            return "its stream token has expired or is another call's"
        if not self._streams.take(use, now) or not await self.claim_use(use):
            return "its stream token was used before"
        return None

    def _is_genuine(self, request: WebRequest, base: str) -> bool:
        if not self.is_signed:
            return True
        if self.vendor.is_genuine(f"{base}{request.target}", _form(request), request.headers):
            return True
        self.counters.refused_signatures += 1
        _log.warning(f"{self.vendor.name}_signature_refused", peer=request.peer, path=request.path)
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


def _page(document: Document) -> WebResponse:
    return WebResponse(HTTPStatus.OK, document.text, document.content_type)


def _forbidden(vendor: Vendor) -> WebResponse:
    return WebResponse(HTTPStatus.FORBIDDEN, f"this request is not signed by {vendor.name.capitalize()}\n")


_REPLAYED: Final = WebResponse(HTTPStatus.FORBIDDEN, "this request was answered before\n")
_NO_CALL: Final = WebResponse(HTTPStatus.BAD_REQUEST, "a webhook of a call names the call\n")
