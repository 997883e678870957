"""What Twilio is answered: TwiML, or that it is not Twilio."""

from __future__ import annotations

import asyncio
from functools import partial
from http import HTTPStatus
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest

from tests.unit.voice_gateway.telephony.test_call import FakeSocket
from tests.unit.voice_gateway.transport.harness import Session
from voice_gateway.errors import StoreError
from voice_gateway.store.base import SessionRecord
from voice_gateway.store.implementations.memory import MemoryStore
from voice_gateway.store.once import claim_once
from voice_gateway.telephony.call import TelephoneCall, TelephonyCounters, Vouched
from voice_gateway.telephony.ended_calls import KEEP_S, EndedCalls
from voice_gateway.telephony.replay_protection import RETRY_WINDOW_S, StreamTokens
from voice_gateway.telephony.service import MAX_FORM_FIELDS, MOST_RECONNECTIONS, TelephonyService
from voice_gateway.telephony.vendor import VendorSecrets
from voice_gateway.telephony.vendors.twilio import TwilioVendor, connect_stream, signature
from voice_gateway.web.server import WebRequest, WebResponse
from voicelink.wire import CloseCode

NOW = 1_700_000_000.0
PUBLIC = "https://gw.example.com"
FORM = {"CallSid": "CA1", "CallStatus": "ringing", "From": "+14158675309"}
FORM_TYPE = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def service(**changes: object) -> TelephonyService:
    options = {
        "public_url": PUBLIC,
        "vendor": TwilioVendor(VendorSecrets("12345")),
        "access_token": lambda call_sid: f"for {call_sid}",
        "clock": lambda: NOW,
    } | changes
    return TelephonyService(accept=Session().accept, counters=TelephonyCounters(), **options)  # type: ignore[arg-type]


def asked(
    target: str = "/twiml", form: dict[str, str] = FORM, base: str = PUBLIC, idempotency: str = "retry-1"
) -> WebRequest:
    headers = {"x-twilio-signature": signature("12345", base + target, form.items())} | FORM_TYPE
    headers |= {"i-twilio-idempotency-token": idempotency}
    return WebRequest("POST", target, headers, "192.0.2.1:5000", urlencode(form).encode())


def connected(response: WebResponse) -> tuple[str, str, dict[str, str]]:
    """The stream's URL, the action, the parameters."""
    assert response.status is HTTPStatus.OK
    assert response.content_type.startswith("text/xml")
    connect = ElementTree.fromstring(response.text.encode()).find("Connect")  # noqa: S314
    assert connect is not None
    stream = connect.find("Stream")
    assert stream is not None
    return stream.attrib["url"], connect.attrib["action"], {p.attrib["name"]: p.attrib["value"] for p in stream}


def test_a_call_is_connected_to_the_stream_with_a_token_for_it_and_no_other() -> None:
    url, action, parameters = connected(service().webhook(asked()))
    assert url == "wss://gw.example.com/v1/twilio"
    assert action == "https://gw.example.com/twiml?again=1"
    assert parameters.keys() == {"stream_token"}, "the access token stays here"
    assert StreamTokens("12345").check(parameters["stream_token"], "CA1", NOW) is not None
    assert StreamTokens("12345").check(parameters["stream_token"], "CA2", NOW) is None


def test_a_get_is_answered_too() -> None:
    target = "/twiml?agent=echo&CallSid=CA1"
    headers = {"x-twilio-signature": signature("12345", PUBLIC + target)}
    _, action, parameters = connected(service().webhook(WebRequest("GET", target, headers, "192.0.2.1:5000")))
    assert action == "https://gw.example.com/twiml?agent=echo&again=1"
    assert parameters["agent"] == "echo"
    assert StreamTokens("12345").check(parameters["stream_token"], "CA1", NOW) is not None


def test_a_webhook_without_a_call_is_refused() -> None:
    assert service().webhook(asked(form={"CallStatus": "ringing"})).status is HTTPStatus.BAD_REQUEST


class TestReplays:
    """A signed webhook is answered once; Twilio's own retries get the same answer."""

    def test_a_retry_of_twilio_gets_the_same_answer(self) -> None:
        clock = Clock()
        telephony = service(clock=clock)
        first = telephony.webhook(asked())
        clock.now += RETRY_WINDOW_S - 1
        assert telephony.webhook(asked()) is first
        assert telephony.counters.twiml_pages == 1

    @pytest.mark.parametrize("idempotency", ["retry-1", "retry-2", ""])
    def test_a_webhook_that_is_sent_again_later_is_forbidden(self, idempotency: str) -> None:
        clock = Clock()
        telephony = service(clock=clock)
        telephony.webhook(asked())
        clock.now += RETRY_WINDOW_S
        answer = telephony.webhook(asked(idempotency=idempotency))
        assert (answer.status, "stream_token" in answer.text) == (HTTPStatus.FORBIDDEN, False)
        assert telephony.counters.refused_replays == 1

    def test_a_webhook_with_another_idempotency_token_is_no_retry(self) -> None:
        telephony = service()
        telephony.webhook(asked())
        assert telephony.webhook(asked(idempotency="retry-2")).status is HTTPStatus.FORBIDDEN

    def test_a_body_in_another_order_is_the_same_webhook(self) -> None:
        """Twilio's signature sorts the parameters, and so covers them in any order."""
        telephony = service()
        telephony.webhook(asked(idempotency="retry-1"))
        turned = asked(form=dict(reversed(FORM.items())), idempotency="retry-2")
        assert telephony.webhook(turned).status is HTTPStatus.FORBIDDEN

    def test_the_next_webhook_of_a_call_is_another(self) -> None:
        telephony = service()
        answers = [
            telephony.webhook(request)
            for request in (asked(), asked("/twiml?again=1"), asked(form=FORM | {"CallStatus": "in-progress"}))
        ]
        assert len({connected(answer)[2]["stream_token"] for answer in answers}) == 3


class TestVouching:
    """The signature of a stream covers its URL alone: a stream token, or an access token, has to speak for the call."""

    def token(self, telephony: TelephonyService) -> dict[str, str]:
        return connected(telephony.webhook(asked()))[2]

    async def test_a_stream_token_proves_the_call_once(self) -> None:
        telephony = service()
        parameters = self.token(telephony)
        assert await telephony._vouch("CA1", parameters) == Vouched("for CA1", is_key_signed=True)
        assert await telephony._vouch("CA1", parameters) is None
        assert telephony.counters.refused_streams == 1

    async def test_a_stream_token_made_by_one_worker_opens_a_stream_at_another(self) -> None:
        assert await service()._vouch("CA1", self.token(service())) is not None

    async def test_the_workers_that_share_a_store_take_a_stream_token_once_together(self) -> None:
        store, now = MemoryStore(), Clock()
        workers = [service(clock=now, claim_use=partial(claim_once, store, f"worker-{n}")) for n in range(4)]
        parameters = self.token(workers[0])
        vouched = await asyncio.gather(*(worker._vouch("CA1", parameters) for worker in workers))
        assert sum(each is not None for each in vouched) == 1

    async def test_a_webhook_replayed_at_another_worker_opens_no_second_stream(self) -> None:
        store, now = MemoryStore(), Clock()
        first, second = (service(clock=now, claim_use=partial(claim_once, store, name)) for name in "ab")
        assert await first._vouch("CA1", self.token(first)) is not None
        now.now += 600.0
        assert await second._vouch("CA1", self.token(second)) is None

    @pytest.mark.parametrize("error", [StoreError("away"), RuntimeError("the driver is confused")])
    async def test_a_stream_is_taken_once_at_each_worker_while_the_store_is_away(self, error: Exception) -> None:
        class Away(MemoryStore):
            async def save(self, record: SessionRecord) -> None:
                raise error

        telephony = service(claim_use=partial(claim_once, Away(), "worker-1"))
        parameters = self.token(telephony)
        assert await telephony._vouch("CA1", parameters) is not None
        assert await telephony._vouch("CA1", parameters) is None

    @pytest.mark.parametrize(("call_sid", "later_s"), [("CA2", 0.0), ("CA1", 60.0)])
    async def test_a_stream_token_of_another_call_or_of_long_ago_is_refused(
        self, call_sid: str, later_s: float
    ) -> None:
        clock = Clock()
        telephony = service(clock=clock)
        parameters = self.token(telephony)
        clock.now += later_s
        assert await telephony._vouch(call_sid, parameters) is None

    async def test_a_captured_signature_alone_opens_nothing(self) -> None:
        assert await service()._vouch("CA1", {}) is None
        assert await service()._vouch("CA1", {"token": "anything"}) is None

    async def test_twiml_of_the_operators_own_shows_an_access_token(self) -> None:
        telephony = service(needs_access_token=lambda: True)
        assert await telephony._vouch("CA1", {"token": "sesame"}) == Vouched("sesame", is_key_signed=False)


def test_without_a_public_url_the_host_field_names_the_worker() -> None:
    for has_tls, scheme in ((True, "wss"), (False, "ws")):
        plain = service(public_url=None, vendor=TwilioVendor(), has_tls=has_tls)
        url, _, parameters = connected(plain.webhook(WebRequest("GET", "/twiml", {"host": "127.0.0.1:8080"}, "")))
        assert url == f"{scheme}://127.0.0.1:8080/v1/twilio"
        assert parameters == {}, "the access token does not leave the worker"


def test_a_stream_that_broke_is_joined_again_but_not_for_ever() -> None:
    _, action, _ = connected(service().webhook(asked("/twiml?again=3")))
    assert action.endswith("again=4")
    last = service().webhook(asked(f"/twiml?again={MOST_RECONNECTIONS + 1}"))
    assert "<Response/>" in last.text
    _, action, _ = connected(service().webhook(asked("/twiml?again=x")))
    assert action.endswith("again=1")


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        (None, "<Response/>"),
        ("+15551234", "<Response><Dial>+15551234</Dial></Response>"),
        ("tel:+15551234", "<Response><Dial>+15551234</Dial></Response>"),
        ("sip:desk@example.com", "<Response><Dial><Sip>sip:desk@example.com</Sip></Dial></Response>"),
        ("https://a.example/?a=1&b=2", '<Redirect method="POST">https://a.example/?a=1&amp;b=2</Redirect>'),
    ],
)
async def test_a_call_that_the_agent_ended_or_transferred_is_not_joined_again(target: str | None, answer: str) -> None:
    telephony = service()
    url = "/v1/twilio"
    headers = {"x-twilio-signature": signature("12345", PUBLIC.replace("https", "wss") + url)}
    request = WebRequest("GET", url, headers, "192.0.2.1:5000", b"")
    stream = telephony.stream(request, FakeSocket())  # type: ignore[arg-type]
    assert isinstance(stream, TelephoneCall)
    stream.on_ended(FORM["CallSid"], target)
    assert answer in telephony.webhook(asked("/twiml?again=1")).text
    connected(telephony.webhook(asked("/twiml?again=2")))
    stream.close(CloseCode.NORMAL, "done")


def test_a_new_call_and_one_of_long_ago_are_not_taken_for_an_ended_one() -> None:
    ended = EndedCalls()
    ended.ended("CA1", None, now=10.0)
    assert ended.take("CA2", 11.0) is None
    assert ended.take(None, 11.0) is None
    assert ended.take("CA1", 10.0 + KEEP_S) is None
    for n in range(5_000):
        ended.ended(f"CA{n}", None, now=20.0)
    assert ended.take("CA0", 21.0) is None
    assert ended.take("CA4999", 21.0) is not None


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_call_that_is_over_is_let_go(status: str) -> None:
    assert "<Response/>" in service().webhook(asked(form=FORM | {"CallStatus": status})).text


@pytest.mark.parametrize("base", ["https://other.example.com", "http://gw.example.com"])
def test_what_is_not_signed_is_forbidden(base: str) -> None:
    telephony = service()
    assert telephony.webhook(asked(base=base)).status is HTTPStatus.FORBIDDEN
    assert telephony.webhook(WebRequest("GET", "/twiml", {}, "")).status is HTTPStatus.FORBIDDEN
    stream = telephony.stream(WebRequest("GET", "/v1/twilio", {}, ""), None)  # type: ignore[arg-type]
    assert isinstance(stream, WebResponse)
    assert stream.status is HTTPStatus.FORBIDDEN
    assert telephony.counters.refused_signatures == 3


def test_values_are_escaped() -> None:
    document = connect_stream("wss://h/p", {'a"<': "b&'"}, None)
    parameter = ElementTree.fromstring(document.encode()).find("./Connect/Stream/Parameter")  # noqa: S314
    assert parameter is not None
    assert parameter.attrib == {"name": 'a"<', "value": "b&'"}
    assert "action" not in document


@pytest.mark.parametrize("host", ["[", "[::1", "::", "", "a b", "x" * 300])
def test_any_host_is_no_signature_and_no_exception(host: str) -> None:
    headers = {"host": host, "x-twilio-signature": "x"}
    answer = service(public_url=None).webhook(WebRequest("POST", "/twiml", headers, "192.0.2.1:5000"))
    assert answer.status is HTTPStatus.FORBIDDEN


def test_a_form_of_thousands_of_fields_is_not_sorted_for_a_signature() -> None:
    form = {f"f{number}": "" for number in range(MAX_FORM_FIELDS + 1)}
    assert service().webhook(asked(form=form)).status is HTTPStatus.FORBIDDEN


def test_unsigned_requests_write_a_bounded_number_of_lines(capsys: pytest.CaptureFixture[str]) -> None:
    twilio = service()
    for _ in range(500):
        twilio.webhook(WebRequest("POST", "/twiml", {}, "192.0.2.1:5000"))
    assert twilio.counters.refused_signatures == 500
    assert capsys.readouterr().out.count("twilio_signature_refused") <= 11
