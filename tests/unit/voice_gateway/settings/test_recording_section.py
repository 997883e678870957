"""`[recording]` and `[webhooks]`: off by default, nothing personal without consent, secrets of some length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.fields import holds_secret
from voice_gateway.settings.gateway_settings import GatewaySettings, load_settings

LEAST = '[worker]\nlisten = "127.0.0.1:4433"\n[tls]\ncertificate = "leaf.pem"\nkey = "leaf.key"\n'
Load = Callable[..., GatewaySettings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str = "", environ: dict[str, str] | None = None) -> GatewaySettings:
        path = tmp_path / "worker.toml"
        path.write_text(LEAST + text)
        return load_settings(path, environ)

    return load


def test_nothing_is_recorded_or_sent_by_default(load: Load) -> None:
    settings = load()
    assert settings.recording.folder is None
    assert (settings.recording.keep_audio, settings.recording.keep_transcripts) == (False, False)
    assert settings.webhooks.urls == ()


def test_a_folder_is_looked_up_beside_the_file(load: Load, tmp_path: Path) -> None:
    assert load('[recording]\nfolder = "calls"\n').recording.folder == tmp_path / "calls"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[recording]\nfolder = "c"\nkeep_audio = true\n', "keep_audio requires consent"),
        ('[recording]\nfolder = "c"\nkeep_transcripts = true\n', "keep_transcripts requires consent"),
        ('[recording]\nkeep_audio = true\nconsent = "asked"\n', "keep_audio requires folder"),
        ('[recording]\nstorage = "s3://b"\n', "storage requires folder"),
        ('[recording]\nfolder = "c"\nconsent = "maybe"\n', "consent"),
        ('[recording]\nfolder = "c"\nretention_days = 0\n', "retention_days"),
        ('[webhooks]\nurls = ["ftp://a"]\n', "http"),
        ('[webhooks]\nurls = ["https://user:pw@a"]\n', "http"),
        ('[webhooks]\nurls = ["https://a"]\n', "webhooks.secret_file"),
        ('[webhooks]\nurls = ["https://a"]\nsecret = "short"\n', "at least 24"),
        ('[webhooks]\nevents = ["call.begun"]\n', "call.started"),
    ],
)
def test_settings_that_cannot_be_served_are_refused(load: Load, text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        load(text)


def test_a_webhook_secret_comes_from_the_environment_or_a_file(load: Load, tmp_path: Path) -> None:
    secret = "whsec_" + "A" * 32
    text = '[webhooks]\nurls = ["https://a/b"]\n'
    assert load(text, {"VOICE_GATEWAY_WEBHOOKS_SECRET": secret}).webhooks.read_webhook_secret() == secret
    (tmp_path / "secret").write_text(f"{secret}\n")
    assert load(f'{text}secret_file = "secret"\n').webhooks.read_webhook_secret() == secret


@pytest.mark.parametrize(
    ("url", "is_secret"),
    [
        ("s3://bucket/voice/calls", False),
        ("s3://bucket-of-2026-11-30/calls-of-the-second-shop-in-town", False),
        ("https://crm.example.com/hooks/call-started/v2?source=voice&version=2026-11-30", False),
        ("https://crm.example.com/a-long-path-of-words-that-has-no-secret-in-it", False),
        ("ftp://calls:sesame@files.example.com/x", True),
        ("s3://key@bucket/x", True),
        ("az://calls/x?sig=abc", True),
        ("https://crm.example.com/calls?api_key=abc", True),
        ("https://crm.example.com/calls?source=voice&access-token=abc", True),
        ("https://hooks.example.com/services/T0A1B2C3D/B0A1B2C3D/a8Fk2mQ9zR4tX7vB1nC6pL3w", True),
        ("https://hooks.example.com/5f2c8b1e-0a4d-4e6b-9c3f-7d1e2a8b6c40", True),
    ],
)
def test_secret_in_a_url_is_seen(url: str, is_secret: bool) -> None:
    assert holds_secret(url) is is_secret
