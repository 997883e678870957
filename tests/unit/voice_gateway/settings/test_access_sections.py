from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.voice_gateway.access.access_keys import SECRET, pair
from voice_gateway.access import gate, tokens
from voice_gateway.access.limits import AccessLimits
from voice_gateway.errors import ConfigurationError
from voice_gateway.session.opening import session_admission as admission
from voice_gateway.settings.access_sections import LimitsSection
from voice_gateway.settings.gateway_settings import GatewaySettings, load_settings

PAGE = (Path(__file__).parents[4] / "deploy" / "access.md").read_text()
LEAST = '[worker]\nlisten = "127.0.0.1:4433"\n[tls]\ncertificate = "leaf.pem"\nkey = "leaf.key"\n'


@pytest.fixture
def load(tmp_path: Path):
    (tmp_path / "old.key").write_text(f"{SECRET}\n")
    (tmp_path / "new.pub").write_text(pair()[1])
    (tmp_path / "new.key").write_text(pair()[0])
    (tmp_path / "short.key").write_text("short")

    def load(text: str, environ: dict[str, str] | None = None) -> GatewaySettings:
        path = tmp_path / "worker.toml"
        path.write_text(LEAST + text)
        return load_settings(path, environ)

    return load


def test_nothing_said_is_open_with_limits_that_nobody_meets(load):
    settings = load("")
    assert settings.access.is_open
    assert settings.access.read_keys() == ()
    assert settings.limits.build() == AccessLimits(
        session_bytes_per_s=262_144,
        session_messages_per_s=200,
        address_attempts_per_s=50,
        address_sessions=100,
        subject_sessions=50,
    )


def test_keys_are_named_by_their_files(load):
    access = load('[access]\nkey_files = ["old.key", "new.pub"]\n').access
    assert not access.is_open
    assert [(key.id, key.algorithm) for key in access.read_keys()] == [("old", "HS256"), ("new", "ES256")]


def test_variables_name_them_too(load, tmp_path):
    environ = {
        "VOICE_GATEWAY_ACCESS_KEY_FILES": f"{tmp_path / 'old.key'}, {tmp_path / 'new.pub'}",
        "VOICE_GATEWAY_ACCESS_SECRET": SECRET,
        "VOICE_GATEWAY_LIMITS_SUBJECT_SESSIONS": "3",
    }
    settings = load("", environ)
    assert [key.id for key in settings.access.read_keys()] == ["old", "new", ""]
    assert settings.limits.build().subject_sessions == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[access]\nkey_files = ["none.pub"]\n', r"access\.key_files .*none\.pub: no such file"),
        ('[access]\nkey_files = ["short.key"]\n', r"short\.key: is a secret of 5 bytes"),
        ('[access]\nkey_files = ["new.key"]\n', r"new\.key: is a private key"),
        ('[access]\nkey_files = ["new.pub", "new.key"]\n', "two files have one name"),
        ('[access]\nsecret = "short"\n', r"access\.secret: is a secret of 5 bytes"),
        (f'[access]\nsecret = "{SECRET}"\nsecret_file = "old.key"\n', "give it or access.secret_file, not both"),
        ("[access]\nsecret = 12345\n", r"access\.secret"),
        ("[access]\nleeway_s = 1000\n", r"access\.leeway_s"),
        ('[access]\naudience = ""\n', r"access\.audience"),
        ("[limits]\nsubject_sessions = 0\n", r"limits\.subject_sessions"),
        ("[limits]\naddress_attempts_per_s = 0\n", r"limits\.address_attempts_per_s"),
        ("[limits]\nsessions = 1\n", r"limits\.sessions: unknown key"),
    ],
)
def test_mistakes_are_named_by_their_key(load, text, message):
    with pytest.raises(ConfigurationError, match=message):
        load(text)


@pytest.mark.parametrize("name", LimitsSection.model_fields)
def test_the_page_lists_every_limit(name):
    assert f"`{name}`" in PAGE


def test_the_page_lists_every_cause_of_a_refusal():
    sources = [Path(module.__file__ or "").read_text() for module in (gate, tokens, admission)]
    denials = re.findall(r'(?:Denial\(\d+, |TokenFault\()"(\w+)"|Refusal\(\d+, .*?, "(\w+)"', "\n".join(sources))
    causes = {first or second for first, second in denials}
    assert {"token_missing", "expired", "draining"} <= causes
    for cause in causes:
        assert f"`{cause}`" in PAGE or f"`token_{cause}`" in PAGE
