"""The author's own tests: the contract suite that voice-gateway ships, with marks and without, and the choice by
name."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping

from toy_vendor import ToyVendor

from voice_gateway.settings.listener_sections import TelephonySection
from voice_gateway.telephony.loading import load_vendor
from voice_gateway.telephony.vendor import Vendor, VendorSecrets
from voice_gateway.testing.vendor_contract import SECRETS, VendorContract


class TestToyVendor(VendorContract):
    def make(self, secrets: VendorSecrets) -> Vendor:
        return ToyVendor(secrets)

    def started(self, stream: str, call: str, parameters: Mapping[str, str]) -> bytes:
        return json.dumps(["begin", stream, call, dict(parameters)]).encode()

    def media(self, stream: str, number: int, payload: bytes) -> bytes:
        return json.dumps(["audio", stream, number * 20, b64encode(payload).decode()]).encode()

    def stopped(self, stream: str) -> bytes:
        return json.dumps(["end", stream]).encode()

    def key(self, stream: str, digit: str) -> bytes | None:
        return json.dumps(["key", stream, digit]).encode()

    def played(self, message: bytes) -> bytes | None:
        kind, stream, name = json.loads(message)
        return json.dumps(["synced", stream, name]).encode() if kind == "sync" else None

    def spoken(self, message: bytes) -> bytes | None:
        kind, _, payload = json.loads(message)
        return b64decode(payload) if kind == "audio" else None

    def signed(self, url: str, form: Mapping[str, str]) -> dict[str, str]:
        signed = url + "".join(name + value for name, value in sorted(form.items()))
        assert SECRETS.auth_token is not None
        return {"x-signature": hmac.digest(SECRETS.auth_token.encode(), signed.encode(), "sha256").hex()}

    def stream_parameters(self, document: str) -> dict[str, str]:
        parameters: dict[str, str] = json.loads(document)["parameters"]
        return parameters


class _WithoutMarks(ToyVendor):
    def mark(self, stream_id: str, name: str) -> bytes | None:
        return None


class TestWithoutMarks(TestToyVendor):
    """Playback is followed by the clock."""

    def make(self, secrets: VendorSecrets) -> Vendor:
        return _WithoutMarks(secrets)


def test_it_is_chosen_by_configuration() -> None:
    section = TelephonySection.model_validate({"listen": "127.0.0.1:0", "vendor": "toy"})
    assert load_vendor(section.vendor) is ToyVendor
