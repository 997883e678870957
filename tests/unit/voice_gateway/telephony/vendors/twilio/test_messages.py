"""Twilio's messages as its documentation prints them, and as nobody should send them."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.telephony.vendors.twilio import messages
from voice_gateway.telephony.vendors.twilio.messages import (
    Connected,
    Dtmf,
    Mark,
    Media,
    Skip,
    Start,
    Stop,
    parse_message,
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


def test_the_documented_messages_are_read() -> None:
    assert parse_message(CONNECTED) == Connected("Call", "1.0.0")
    start = parse_message(START)
    assert isinstance(start, Start)
    assert (start.stream_sid, start.start.call_sid) == ("MZ1", "CA1")
    assert start.start.custom_parameters == {"FirstName": "Jane", "RemoteParty": "Bob"}
    form = start.start.media_format
    assert (form.encoding, form.sample_rate, form.channels) == messages.MEDIA_FORMAT
    media = parse_message(MEDIA)
    assert isinstance(media, Media)
    assert (media.sequence_number, media.media.chunk, media.media.timestamp) == (4, 2, 5)
    assert messages.parse_payload(media.media.payload) == b"\x9e\x8f\x89\x86\x86\x89\x8e\x9c\xff\xff"
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


def test_an_unknown_event_is_told_apart() -> None:
    assert parse_message(b'{"event":"transcription","streamSid":"MZ1"}') is Skip.UNKNOWN_EVENT


@given(st.binary(max_size=200))
def test_no_bytes_raise(text: bytes) -> None:
    assert isinstance(parse_message(text), Skip)


@pytest.mark.parametrize(
    "payload", ["", "A", "AAA", "A===", "AA AA", "AAAA\n", "AA-_", "ÄÄÄÄ", b64encode(bytes(16_385)).decode()]
)
def test_odd_payloads_are_skipped(payload: str) -> None:
    assert messages.parse_payload(payload) is Skip.BAD_PAYLOAD


def test_what_is_sent_is_what_twilio_takes() -> None:
    assert json.loads(messages.media("MZ1", b"\x9e\x8f")) == {
        "event": "media",
        "streamSid": "MZ1",
        "media": {"payload": "no8="},
    }
    assert json.loads(messages.mark("MZ1", "1:20")) == {"event": "mark", "streamSid": "MZ1", "mark": {"name": "1:20"}}
    assert json.loads(messages.clear("MZ1")) == {"event": "clear", "streamSid": "MZ1"}
