from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner

from tests.unit.voice_gateway.access.access_keys import SECRET, pair
from tests.unit.voice_gateway.cli.test_cli import sentence
from voice_gateway.access.keys import verification_key
from voice_gateway.access.tokens import Claims, TokenVerifier
from voice_gateway.cli import main as cli


def printed(*arguments: str, env: dict[str, str] | None = None) -> str:
    result = CliRunner().invoke(cli.app, list(arguments), env=env)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output.strip()


def checked(token: str, key_id: str, text: str, **changes: object) -> Claims:
    options = {"audience": "voice-gateway", "issuer": None} | changes
    claims = TokenVerifier([verification_key(key_id, text)], **options).verify(token, time.time())  # type: ignore[arg-type]
    assert isinstance(claims, Claims), claims
    return claims


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "s.key").write_text(SECRET)
    (tmp_path / "worker.toml").write_text(
        '[worker]\nlisten = "127.0.0.1:0"\n[tls]\ncertificate = "c"\nkey = "k"\n'
        '[access]\nkey_files = ["s.key"]\naudience = "voice.example"\nissuer = "shop"\n'
    )
    return tmp_path / "worker.toml"


@pytest.mark.parametrize("algorithm", ["ES256", "HS256"])
def test_a_key_signs_tokens_that_its_other_half_takes(tmp_path, algorithm):
    made = json.loads(printed("key", "2026-11", "--algorithm", algorithm, "--out", str(tmp_path / "keys"), "--json"))
    assert (made["key_id"], made["algorithm"]) == ("2026-11", algorithm)
    assert stat.S_IMODE(Path(made["signs"]).stat().st_mode) == 0o600
    token = printed("token", "--subject", "alice", "--expires-in", "15m", "--key-file", made["signs"])
    claims = checked(token, "2026-11", Path(made["checks"]).read_text())
    assert claims.subject == "alice"
    assert 890 < claims.expires - time.time() <= 900


def test_a_key_is_never_written_over(tmp_path, capsys, monkeypatch):
    printed("key", "a", "--out", str(tmp_path))
    before = (tmp_path / "a.key").read_text()
    assert "file exists" in sentence(capsys, monkeypatch, "key", "a", "--out", str(tmp_path))
    assert (tmp_path / "a.key").read_text() == before


@pytest.mark.parametrize("name", ["../a", "", ".a", "a/b", "a" * 65])
def test_what_cannot_name_a_file_is_no_key_id(tmp_path, capsys, monkeypatch, name):
    assert "key's ID" in sentence(capsys, monkeypatch, "key", name, "--out", str(tmp_path))


def test_a_token_says_what_it_was_asked_to(tmp_path):
    (tmp_path / "k.key").write_text(pair()[0])
    document = json.loads(
        printed(
            *("token", "-s", "alice", "--expires-in", "2h", "--audience", "x", "--issuer", "shop", "--json"),
            *("--origin", "https://a.example", "--origin", "https://b.example", "--agent", "order"),
            *("--key-file", str(tmp_path / "k.key"), "--key-id", "other"),
        )
    )
    assert (document["algorithm"], document["key_id"], document["audience"]) == ("ES256", "other", "x")
    assert jwt.get_unverified_header(document["token"])["kid"] == "other"
    claims = checked(document["token"], "other", pair()[1], audience="x", issuer="shop")
    assert claims.origins == {"https://a.example", "https://b.example"}
    assert claims.agents == {"order"}


def test_a_worker_s_settings_fill_in_what_was_not_given(config):
    token = printed("token", "-s", "alice", "--config", str(config))
    checked(token, "s", SECRET, audience="voice.example", issuer="shop")


def test_the_secret_may_come_from_the_environment():
    token = printed("token", "-s", "alice", env={"VOICE_GATEWAY_ACCESS_SECRET": SECRET})
    assert "kid" not in jwt.get_unverified_header(token)
    checked(token, "", SECRET)


def test_a_token_may_begin_later(tmp_path):
    (tmp_path / "k").write_text(SECRET)
    token = printed("token", "-s", "a", "--starts-in", "30s", "--expires-in", "30s", "--key-file", str(tmp_path / "k"))
    verifier = TokenVerifier([verification_key("k", SECRET)], audience="voice-gateway", issuer=None)
    assert not isinstance(verifier.verify(token, time.time()), Claims)
    assert isinstance(verifier.verify(token, time.time() + 35), Claims)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --key-file, VOICE_GATEWAY_ACCESS_SECRET, or the --config"),
        (("--key-file", "none.key"), "--key-file none.key: no such file"),
        (("--expires-in", "soon"), "--expires-in must look like 90s"),
        (("--expires-in", "0m"), "--expires-in must be more than nothing"),
        (("--starts-in", "999999999d"), "--starts-in must be at most 3650d"),
        (("--subject", ""), "--subject must have 1 to 255 characters"),
        (("--config", "none.toml"), "none.toml: no such file"),
    ],
)
def test_what_is_wrong_is_one_sentence(capsys, monkeypatch, arguments, message):
    monkeypatch.delenv("VOICE_GATEWAY_ACCESS_SECRET", raising=False)
    assert message in sentence(capsys, monkeypatch, "token", "--subject", "alice", *arguments)


def test_a_token_that_workers_would_refuse_is_not_made_for_them(capsys, monkeypatch, config):
    arguments = ("token", "--subject", "alice", "--expires-in", "2d", "--config", str(config))
    assert "--expires-in is 172800 s, access.max_lifetime_s is 86400" in sentence(capsys, monkeypatch, *arguments)


def test_a_token_that_workers_may_refuse_is_made_with_a_warning(tmp_path):
    (tmp_path / "k").write_text(SECRET)
    arguments = ["token", "-s", "a", "--expires-in", "2d", "--key-file", str(tmp_path / "k")]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0
    assert result.stdout.count(".") == 2
    assert "workers may refuse this token: --expires-in is 172800 s, the default" in result.stderr


def test_check_names_the_keys_and_not_what_they_are(config, tmp_path):
    assert CliRunner().invoke(cli.app, ["certificate", "--out", str(tmp_path)]).exit_code == 0
    config.write_text(
        config.read_text().replace('"c"', '"leaf.pem"').replace('"k"', '"leaf.key"')
        + 'token = "sesame"\n[agent]\nname = "echo"\n'
    )
    facts = json.loads(printed("check", "--json", "--insecure-development", "--config", str(config)))
    assert facts["access"] == "by token or signed token"
    assert facts["access_keys"] == ["s HS256"]
    assert facts["access_audience"] == "voice.example"


def test_a_token_for_an_origin_that_no_browser_sends_is_refused(config, capsys, monkeypatch):
    arguments = ("token", "--subject", "alice", "--expires-in", "15m", "--config", str(config))
    message = sentence(capsys, monkeypatch, *arguments, "--origin", "https://shop.example/")
    assert "--origin: an origin is written as browsers send it" in message
    assert "got 'https://shop.example/'" in message
