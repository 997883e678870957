"""Signatures as twilio-python 9.13.0 makes them (`RequestValidator.compute_signature`)."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from voice_gateway.telephony.vendors.twilio.signature import SignatureCheck, signature

STREAM = "wss://gw.example.com/v1/twilio"
PAGE = "https://mycompany.com/myapp.php?foo=1&bar=2"
FORM = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Caller", "+14158675309"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
]
SHA256 = {"x-twilio-webhooks-signature-settings": "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"}
CHECK = SignatureCheck("12345")
VECTORS = [
    # the example of Twilio's documentation
    (PAGE, FORM, "sha1", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    (PAGE, FORM, "sha256", "033hgUJA9M/hXIZsYjwkerEP/DBm35nEri5FhCYjA5s="),
    (STREAM, [], "sha1", "I6HLRctYbbLJuZaqBSpks+hxwXo="),
    ("wss://gw.example.com:443/v1/twilio", [], "sha1", "qSjI0zKHZDBAIZ2zPzxWEq1ueEk="),
    (STREAM, [], "sha256", "6GUWJeZMgObQTCrWsPCGpMJHUZJ/y4mvKtEcilpKYOo="),
]


@pytest.mark.parametrize(("url", "form", "digest", "expected"), VECTORS)
def test_signatures_are_twilios(url: str, form: list[tuple[str, str]], digest: str, expected: str) -> None:
    assert signature("12345", url, form, digest) == expected
    assert signature("12345", url, reversed(form), digest) == expected


def test_without_a_form_it_is_an_hmac_of_the_url() -> None:
    assert signature("k", STREAM) == base64.b64encode(hmac.new(b"k", STREAM.encode(), hashlib.sha1).digest()).decode()


@pytest.mark.parametrize("called", [STREAM, "wss://gw.example.com:443/v1/twilio"])
@pytest.mark.parametrize("signed", [STREAM, "wss://gw.example.com:443/v1/twilio"])
def test_the_port_may_be_there_or_not_on_either_side(called: str, signed: str) -> None:
    assert CHECK.is_genuine(called, (), {"x-twilio-signature": signature("12345", signed)})


def test_another_port_may_be_left_out_of_the_signature() -> None:
    made = signature("12345", "https://gw.example.com/twiml")
    assert CHECK.is_genuine("https://gw.example.com:8443/twiml", (), {"x-twilio-signature": made})


def test_ipv6_hosts_keep_their_brackets() -> None:
    made = signature("12345", "wss://[2001:db8::1]:443/v1/twilio")
    assert CHECK.is_genuine("wss://[2001:db8::1]/v1/twilio", (), {"x-twilio-signature": made})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-twilio-signature": ""},
        {"x-twilio-signature": "I6HLRctYbbLJuZaqBSpks+hxwXo"},
        {"x-twilio-signature": signature("12346", STREAM)},
        {"x-twilio-signature": signature("12345", STREAM + "/")},
        {"x-twilio-signature": signature("12345", STREAM, digest="sha256")},
        {"x-twilio-signature": signature("12345", STREAM)} | SHA256,
        {"x-twilio-signature": signature("12345", STREAM)}
        | {"x-twilio-webhooks-signature-settings": "algorithm=HMAC_MD5"},
        {"x-twilio-signature": "Ünicode"},
    ],
)
def test_other_signatures_are_wrong(headers: dict[str, str]) -> None:
    assert not CHECK.is_genuine(STREAM, (), headers)


def test_sha256_goes_by_the_shared_key() -> None:
    headers = {"x-twilio-signature": signature("shared", STREAM, digest="sha256")} | SHA256
    assert SignatureCheck("12345", "shared").is_genuine(STREAM, (), headers)
    assert not SignatureCheck("shared").is_genuine(STREAM, (), headers)
    assert not SignatureCheck(None, "other").is_genuine(STREAM, (), headers)


def test_a_form_is_part_of_what_is_signed() -> None:
    headers = {"x-twilio-signature": signature("12345", PAGE, FORM)}
    assert CHECK.is_genuine(PAGE, FORM, headers)
    assert not CHECK.is_genuine(PAGE, FORM[1:], headers)


def test_secrets_are_not_shown() -> None:
    assert "12345" not in repr(CHECK)
