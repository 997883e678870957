"""Twilio's messages as its documentation prints them and malformed ones; signatures as twilio-python 9.13.0 makes them
(`RequestValidator.compute_signature`)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.telephony.vendor import Skip, VendorSecrets
from voice_gateway.telephony.vendors.twilio import (
    MEDIA_FORMAT,
    Connected,
    Dtmf,
    Mark,
    Media,
    Start,
    Stop,
    TwilioVendor,
    parse_message,
    parse_payload,
    signature,
)

CONNECTED = b'{"event":"connected","protocol":"Call","version":"1.0.0"}'
START = b"""{"event":"start","sequenceNumber":"1","start":{"accountSid":"AC1","streamSid":"MZ1","callSid":"CA1",
 "tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},
 "customParameters":{"FirstName":"Jane","RemoteParty":"Bob"}},"streamSid":"MZ1"}"""
MEDIA = b"""{"event":"media","sequenceNumber":"4","media":{"track":"inbound","chunk":"2","timestamp":"5",
 "payload":"no+JhoaJjpz//w=="},"streamSid":"MZ1"}"""
DTMF = b'{"event":"dtmf","streamSid":"MZ1","sequenceNumber":"5","dtmf":{"track":"inbound_track","digit":"1"}}'
MARK = b'{"event":"mark","sequenceNumber":"4","streamSid":"MZ1","mark":{"name":"my label"}}'
STOP = b'{"event":"stop","sequenceNumber":"5","stop":{"accountSid":"AC1","callSid":"CA1"},"streamSid":"MZ1"}'
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
VENDOR = TwilioVendor(VendorSecrets("12345"))
VECTORS = [
    # the example of Twilio's documentation
    (PAGE, FORM, "sha1", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    (PAGE, FORM, "sha256", "033hgUJA9M/hXIZsYjwkerEP/DBm35nEri5FhCYjA5s="),
    (STREAM, [], "sha1", "I6HLRctYbbLJuZaqBSpks+hxwXo="),
    ("wss://gw.example.com:443/v1/twilio", [], "sha1", "qSjI0zKHZDBAIZ2zPzxWEq1ueEk="),
    (STREAM, [], "sha256", "6GUWJeZMgObQTCrWsPCGpMJHUZJ/y4mvKtEcilpKYOo="),
]


def test_the_documented_messages_are_read() -> None:
    assert parse_message(CONNECTED) == Connected("Call", "1.0.0")
    start = parse_message(START)
    assert isinstance(start, Start)
    assert (start.stream_sid, start.start.call_sid) == ("MZ1", "CA1")
    assert start.start.custom_parameters == {"FirstName": "Jane", "RemoteParty": "Bob"}
    form = start.start.media_format
    assert (form.encoding, form.sample_rate, form.channels) == MEDIA_FORMAT
    media = parse_message(MEDIA)
    assert isinstance(media, Media)
    assert (media.sequence_number, media.media.chunk, media.media.timestamp) == (4, 2, 5)
    assert parse_payload(media.media.payload) == b"\x9e\x8f\x89\x86\x86\x89\x8e\x9c\xff\xff"
    dtmf, mark = parse_message(DTMF), parse_message(MARK)
    assert isinstance(dtmf, Dtmf)
    assert dtmf.dtmf.digit == "1"
    assert isinstance(mark, Mark)
    assert mark.mark.name == "my label"
    assert parse_message(STOP) == Stop("MZ1", 5)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"event":5}',
        b'{"streamSid":"MZ1"}',
        b'{"event":"media","streamSid":"MZ1"}',
        MEDIA.replace(b'"timestamp":"5"', b'"timestamp":"soon"'),
        MEDIA.replace(b'"timestamp":"5"', b'"timestamp":"-5"'),
        MEDIA.replace(b'"streamSid":"MZ1"', b'"streamSid":""'),
        START.replace(b'"callSid":"CA1",', b""),
        START.replace(b'"Jane"', b"{}"),
        DTMF.replace(b'"digit":"1"', b'"digit":"12"'),
        b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_skipped(text: bytes) -> None:
    assert parse_message(text) is Skip.MALFORMED


def test_an_unknown_event_is_skipped_as_such() -> None:
    assert parse_message(b'{"event":"transcription","streamSid":"MZ1"}') is Skip.UNKNOWN_EVENT


@given(st.binary(max_size=200))
def test_no_bytes_raise(text: bytes) -> None:
    assert isinstance(parse_message(text), Skip)


@pytest.mark.parametrize(
    "payload", ["", "A", "AAA", "A===", "AA AA", "AAAA\n", "AA-_", "ÄÄÄÄ", b64encode(bytes(16_385)).decode()]
)
def test_odd_payloads_are_skipped(payload: str) -> None:
    assert parse_payload(payload) is Skip.BAD_PAYLOAD


def test_what_is_sent_is_what_twilio_takes() -> None:
    vendor = TwilioVendor()
    assert json.loads(vendor.media("MZ1", b"\x9e\x8f")) == {
        "event": "media",
        "streamSid": "MZ1",
        "media": {"payload": "no8="},
    }
    assert json.loads(vendor.mark("MZ1", "1:20") or b"") == {
        "event": "mark",
        "streamSid": "MZ1",
        "mark": {"name": "1:20"},
    }
    assert json.loads(vendor.clear("MZ1") or b"") == {"event": "clear", "streamSid": "MZ1"}


@pytest.mark.parametrize(("url", "form", "digest", "expected"), VECTORS)
def test_signatures_are_twilios(url: str, form: list[tuple[str, str]], digest: str, expected: str) -> None:
    assert signature("12345", url, form, digest) == expected
    assert signature("12345", url, reversed(form), digest) == expected


def test_without_a_form_it_is_an_hmac_of_the_url() -> None:
    assert signature("k", STREAM) == base64.b64encode(hmac.new(b"k", STREAM.encode(), hashlib.sha1).digest()).decode()


@pytest.mark.parametrize("called", [STREAM, "wss://gw.example.com:443/v1/twilio"])
@pytest.mark.parametrize("signed", [STREAM, "wss://gw.example.com:443/v1/twilio"])
def test_the_port_may_be_there_or_not_on_either_side(called: str, signed: str) -> None:
    assert VENDOR.is_genuine(called, (), {"x-twilio-signature": signature("12345", signed)})


def test_another_port_may_be_left_out_of_the_signature() -> None:
    made = signature("12345", "https://gw.example.com/twiml")
    assert VENDOR.is_genuine("https://gw.example.com:8443/twiml", (), {"x-twilio-signature": made})


def test_ipv6_hosts_keep_their_brackets() -> None:
    made = signature("12345", "wss://[2001:db8::1]:443/v1/twilio")
    assert VENDOR.is_genuine("wss://[2001:db8::1]/v1/twilio", (), {"x-twilio-signature": made})


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
    assert not VENDOR.is_genuine(STREAM, (), headers)


def test_sha256_goes_by_the_shared_key() -> None:
    headers = {"x-twilio-signature": signature("shared", STREAM, digest="sha256")} | SHA256
    assert TwilioVendor(VendorSecrets("12345", "shared")).is_genuine(STREAM, (), headers)
    assert not TwilioVendor(VendorSecrets("shared")).is_genuine(STREAM, (), headers)
    assert not TwilioVendor(VendorSecrets(None, "other")).is_genuine(STREAM, (), headers)


def test_a_form_is_part_of_what_is_signed() -> None:
    headers = {"x-twilio-signature": signature("12345", PAGE, FORM)}
    assert VENDOR.is_genuine(PAGE, FORM, headers)
    assert not VENDOR.is_genuine(PAGE, FORM[1:], headers)


def test_secrets_are_not_shown() -> None:
    assert "12345" not in repr(VENDOR.secrets)
