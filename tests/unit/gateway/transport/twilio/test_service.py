"""What Twilio is answered: TwiML, or that it is not Twilio."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest

from gateway.transport.twilio.counters import TelephonyCounters
from gateway.transport.twilio.service import MAX_FORM_FIELDS, MOST_RECONNECTIONS, TelephonyService
from gateway.transport.twilio.signature import SignatureCheck, signature
from gateway.transport.twilio.twiml import connect_stream
from gateway.web.server import WebRequest, WebResponse
from tests.unit.gateway.transport.harness import Session

PUBLIC = "https://gw.example.com"
FORM = {"CallSid": "CA1", "CallStatus": "ringing", "From": "+14158675309"}
FORM_TYPE = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}


def service(**changes: object) -> TelephonyService:
    options = {
        "public_url": PUBLIC,
        "signatures": SignatureCheck("12345"),
        "access_token": lambda call_sid: "sesame",
    } | changes
    return TelephonyService(Session().accept, TelephonyCounters(), **options)  # type: ignore[arg-type]


def asked(target: str = "/twiml", form: dict[str, str] = FORM, base: str = PUBLIC) -> WebRequest:
    headers = {"x-twilio-signature": signature("12345", base + target, form.items())} | FORM_TYPE
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


def test_a_call_is_connected_to_the_stream_with_the_token() -> None:
    url, action, parameters = connected(service().twiml(asked()))
    assert url == "wss://gw.example.com/v1/twilio"
    assert action == "https://gw.example.com/twiml?again=1"
    assert parameters == {"token": "sesame"}


def test_a_get_is_answered_too() -> None:
    target = "/twiml?agent=echo"
    headers = {"x-twilio-signature": signature("12345", PUBLIC + target)}
    _, action, parameters = connected(service().twiml(WebRequest("GET", target, headers, "192.0.2.1:5000")))
    assert action == "https://gw.example.com/twiml?agent=echo&again=1"
    assert parameters == {"agent": "echo", "token": "sesame"}


def test_without_a_public_address_the_host_is_believed() -> None:
    for has_tls, scheme in ((True, "wss"), (False, "ws")):
        plain = service(public_url=None, signatures=None, has_tls=has_tls)
        url, _, parameters = connected(plain.twiml(WebRequest("GET", "/twiml", {"host": "127.0.0.1:8080"}, "")))
        assert url == f"{scheme}://127.0.0.1:8080/v1/twilio"
        assert parameters == {}, "the access token goes to nobody unknown"


def test_a_stream_that_broke_is_joined_again_but_not_for_ever() -> None:
    _, action, _ = connected(service().twiml(asked("/twiml?again=3")))
    assert action.endswith("again=4")
    last = service().twiml(asked(f"/twiml?again={MOST_RECONNECTIONS + 1}"))
    assert "<Response/>" in last.text
    _, action, _ = connected(service().twiml(asked("/twiml?again=x")))
    assert action.endswith("again=1")


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_call_that_is_over_is_let_go(status: str) -> None:
    assert "<Response/>" in service().twiml(asked(form=FORM | {"CallStatus": status})).text


@pytest.mark.parametrize("base", ["https://other.example.com", "http://gw.example.com"])
def test_what_is_not_signed_is_forbidden(base: str) -> None:
    telephony = service()
    assert telephony.twiml(asked(base=base)).status is HTTPStatus.FORBIDDEN
    assert telephony.twiml(WebRequest("GET", "/twiml", {}, "")).status is HTTPStatus.FORBIDDEN
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
    answer = service(public_url=None).twiml(WebRequest("POST", "/twiml", headers, "192.0.2.1:5000"))
    assert answer.status is HTTPStatus.FORBIDDEN


def test_a_form_of_thousands_of_fields_is_not_sorted_for_a_signature() -> None:
    form = {f"f{number}": "" for number in range(MAX_FORM_FIELDS + 1)}
    assert service().twiml(asked(form=form)).status is HTTPStatus.FORBIDDEN


def test_unsigned_requests_write_a_bounded_number_of_lines(capsys: pytest.CaptureFixture[str]) -> None:
    twilio = service()
    for _ in range(500):
        twilio.twiml(WebRequest("POST", "/twiml", {}, "192.0.2.1:5000"))
    assert twilio.counters.refused_signatures == 500
    assert capsys.readouterr().out.count("twilio_signature_refused") <= 11
