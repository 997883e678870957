"""The shipped contract suite over Twilio."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from xml.etree import ElementTree

import pytest

from quiclb.errors import ConfigError
from voice_gateway.telephony.loading import check_vendor_name, load_vendor
from voice_gateway.telephony.vendor import Vendor, VendorSecrets
from voice_gateway.telephony.vendors.twilio import TwilioVendor, signature
from voice_gateway.testing.vendor_contract import SECRETS, VendorContract


def message(event: str, stream: str, **facts: object) -> bytes:
    return json.dumps({"event": event, "streamSid": stream} | facts).encode()


class TestTwilio(VendorContract):
    def make(self, secrets: VendorSecrets) -> Vendor:
        return TwilioVendor(secrets)

    def started(self, stream: str, call: str, parameters: Mapping[str, str]) -> bytes:
        audio = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        facts = {"streamSid": stream, "callSid": call, "mediaFormat": audio, "customParameters": dict(parameters)}
        return message("start", stream, start=facts)

    def media(self, stream: str, number: int, payload: bytes) -> bytes:
        facts = {"track": "inbound", "timestamp": str(number * 20), "payload": b64encode(payload).decode()}
        return message("media", stream, media=facts)

    def stopped(self, stream: str) -> bytes:
        return message("stop", stream)

    def key(self, stream: str, digit: str) -> bytes | None:
        return message("dtmf", stream, dtmf={"digit": digit})

    def played(self, message: bytes) -> bytes | None:
        return message if json.loads(message)["event"] == "mark" else None

    def spoken(self, message: bytes) -> bytes | None:
        sent = json.loads(message)
        return b64decode(sent["media"]["payload"]) if sent["event"] == "media" else None

    def signed(self, url: str, form: Mapping[str, str]) -> dict[str, str]:
        assert SECRETS.auth_token is not None
        return {"x-twilio-signature": signature(SECRETS.auth_token, url, form.items())}

    def webhook_form(self, call: str) -> dict[str, str]:
        return {"CallSid": call, "CallStatus": "ringing"}

    def stream_parameters(self, document: str) -> dict[str, str]:
        found = ElementTree.fromstring(document.encode()).iter("Parameter")  # noqa: S314
        return {each.attrib["name"]: each.attrib["value"] for each in found}


def test_twilio_is_found_by_name() -> None:
    assert load_vendor("twilio") is TwilioVendor


def test_an_unknown_name_lists_what_is_installed() -> None:
    with pytest.raises(ConfigError, match="must be one of the installed vendors: twilio; got 'acme'"):
        check_vendor_name("acme")
