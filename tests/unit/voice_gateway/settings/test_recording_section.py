"""`[recording]` and `[webhooks]`: off by default, nothing personal without consent, secrets of some length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from voice_gateway.errors import ConfigurationError
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
