from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.voice_gateway.access.access_keys import SECRET, pair
from voice_gateway.access.gate import Denial, Gate, Grant
from voice_gateway.endpoint.admission.address_validation import Handshake
from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.worker.access_control import AccessControl

NOW = 1_800_000_000.0
TELEPHONY = {"public_url": "https://gw.example.com", "listen": "127.0.0.1:0", "auth_token": "12345"}


def settings(**sections: Any) -> GatewaySettings:
    return GatewaySettings.model_validate(
        {"worker": {"listen": "127.0.0.1:0"}, "tls": {"certificate": "c", "key": "k"}} | sections
    )


def gate(access_control: AccessControl) -> Gate:
    return access_control.admission._gate


class TestTelephoneToken:
    def test_opens_any_worker_of_the_account_for_a_minute(self, tmp_path: Path):
        (tmp_path / "a.pub").write_text(pair()[1])
        said = settings(access={"key_files": [tmp_path / "a.pub"], "issuer": "shop"}, telephony=TELEPHONY)
        first, second = AccessControl(said, lambda: NOW), AccessControl(said, lambda: NOW)
        token = first.telephone_token("CA1")
        assert gate(second).admit(token, None, "order", NOW + 59) == Grant("call:CA1")
        assert isinstance(gate(second).admit(token, None, "order", NOW + 75), Denial)

    def test_is_another_for_another_account(self, tmp_path: Path):
        (tmp_path / "a.pub").write_text(pair()[1])
        access = {"key_files": [tmp_path / "a.pub"]}
        mine = AccessControl(settings(access=access, telephony=TELEPHONY), lambda: NOW)
        other = AccessControl(settings(access=access, telephony=TELEPHONY | {"auth_token": "54321"}), lambda: NOW)
        assert isinstance(gate(mine).admit(other.telephone_token("CA1"), None, "order", NOW), Denial)

    def test_is_the_one_for_all_where_there_is_one(self):
        assert AccessControl(settings(access={"token": "sesame"}, telephony=TELEPHONY), lambda: NOW).telephone_token(
            "CA1"
        ) == ("sesame")

    def test_is_none_where_none_is_needed_or_nobody_signs(self):
        assert AccessControl(settings(telephony=TELEPHONY), lambda: NOW).telephone_token("CA1") is None
        unsigned = settings(access={"secret": SECRET}, telephony={"listen": "127.0.0.1:0"})
        assert AccessControl(unsigned, lambda: NOW).telephone_token("CA1") is None


class TestReload:
    def test_takes_keys_and_limits(self):
        access_control = AccessControl(settings(), lambda: NOW)
        assert gate(access_control).is_open
        access_control.reload(settings(access={"token": "sesame"}, limits={"address_attempts_per_s": 0.01}))
        assert isinstance(gate(access_control).admit(None, None, "order", NOW), Denial)
        met = [access_control.handshakes.decide("192.0.2.1", is_proven=True, now=0.0) for _ in range(2)]
        assert met == [Handshake.ADMIT, Handshake.REFUSE]

    def test_leaves_the_counts_alone_where_no_limit_changed(self):
        limited = settings(limits={"address_attempts_per_s": 0.01})
        access_control = AccessControl(limited, lambda: NOW)
        access_control.handshakes.decide("192.0.2.1", is_proven=True, now=0.0)
        access_control.reload(limited)
        assert access_control.handshakes.decide("192.0.2.1", is_proven=True, now=0.0) is Handshake.REFUSE

    def test_keeps_the_old_where_the_new_is_bad(self, tmp_path: Path):
        (tmp_path / "a.key").write_text(SECRET)
        said = settings(access={"key_files": [tmp_path / "a.key"]})
        access_control = AccessControl(said, lambda: NOW)
        before = gate(access_control)
        (tmp_path / "a.key").write_text("short")
        with pytest.raises(ConfigurationError, match="5 bytes"):
            access_control.reload(said)
        assert gate(access_control) is before

    def test_watches_every_file_that_holds_a_key(self, tmp_path: Path):
        for name in ("token", "secret", "a.key"):
            (tmp_path / name).write_text(SECRET)
        access = {
            "token_file": tmp_path / "token",
            "secret_file": tmp_path / "secret",
            "key_files": [tmp_path / "a.key"],
        }
        said = settings(access=access)
        assert {path.name for path in AccessControl(said, lambda: NOW).files(said)} == {"token", "secret", "a.key"}
