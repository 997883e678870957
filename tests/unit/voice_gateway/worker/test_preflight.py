"""What a worker refuses to serve, and what opens before it does."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.gateway_settings import GatewaySettings, load_settings
from voice_gateway.worker.preflight import Insistence, admit, opening_faults, risks

ROOT, USER = 0, 1000
LEAST = """
[worker]
listen = "{listen}"
[tls]
certificate = "leaf.pem"
key = "leaf.key"
[agent]
name = "echo"
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that all users can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)  # noqa: S103 - this is what is tested
        ensure_certificate(Path(name), now=time.time())
        yield Path(name)


def loaded(folder: Path, more: str = "", listen: str = "127.0.0.1:0") -> tuple[GatewaySettings, Path]:
    config = folder / "worker.toml"
    config.write_text(LEAST.format(listen=listen) + more)
    return load_settings(config), config


def said(folder: Path, more: str = "", *, listen: str = "127.0.0.1:0", user_id: int | None = USER) -> list[str]:
    return [risk.sentence for risk in risks(*loaded(folder, more, listen), user_id)]


@pytest.mark.parametrize("listen", ["127.0.0.1:4433", "10.0.0.5:4433", "192.168.1.4:4433", "[::1]:4433", "[fd00::1]:1"])
def test_this_machine_and_private_networks_are_for_development(folder: Path, listen: str) -> None:
    assert said(folder, listen=listen, user_id=ROOT) == []


@pytest.mark.parametrize("listen", ["0.0.0.0:4433", "[::]:4433", "8.8.8.8:4433", "[2606:4700::1]:4433"])
def test_a_public_address_is_refused_to_development_and_to_root(folder: Path, listen: str) -> None:
    root, certificate, access = said(folder, listen=listen, user_id=ROOT)
    assert "this process runs as root" in root
    assert "--allow-root" in root
    assert "a development certificate" in certificate
    assert "any client may call" in access
    for each in (root, certificate, access):
        assert each.startswith(f"worker.listen {listen} is a public address and ")
    assert said(folder, listen=listen, user_id=USER) == [certificate, access]


@pytest.mark.parametrize("section", ["websocket", "page", "telephony"])
def test_each_listener_of_callers_counts(folder: Path, section: str) -> None:
    assert f"{section}.listen 0.0.0.0:1 is a public address" in said(folder, f'[{section}]\nlisten = "0.0.0.0:1"\n')[0]


def test_signed_telephone_calls_and_admin_do_not_count(folder: Path) -> None:
    (folder / "twilio").write_text("t")
    (folder / "twilio").chmod(0o600)
    more = '[telephony]\nlisten = "0.0.0.0:1"\npublic_url = "https://a.example"\nauth_token_file = "twilio"\n'
    assert said(folder, more + '[admin]\nlisten = "0.0.0.0:2"\n') == []


def test_a_token_closes_access(folder: Path) -> None:
    (folder / "token").write_text("sesame")
    (folder / "token").chmod(0o600)
    [only] = said(folder, '[access]\ntoken_file = "token"\n', listen="0.0.0.0:1")
    assert "development certificate" in only


def test_secrets_that_all_users_can_read_are_refused_everywhere(folder: Path) -> None:
    (folder / "leaf.key").chmod(0o644)
    [only] = said(folder)
    assert "leaf.key has mode 0644" in only
    assert "chmod 600" in only


@pytest.mark.parametrize(
    ("more", "remedy"),
    [
        ('[access]\ntoken = "sesame"\n', "access.token_file, or give it by the variable VOICE_GATEWAY_ACCESS_TOKEN"),
        ('[quic]\nreset_key = "' + "00" * 16 + '"\n', "VOICE_GATEWAY_QUIC_RESET_KEY"),
        ('[session]\nstore = "redis://:sesame@127.0.0.1:1/0"\n', "VOICE_GATEWAY_SESSION_STORE"),
        (
            '[recording]\nfolder = "/r"\nstorage = "ftp://calls:sesame@files.example.com/x"\n',
            "VOICE_GATEWAY_RECORDING_STORAGE",
        ),
        (
            '[webhooks]\nsecret_file = "leaf.key"\nurls = ["https://crm.example.com/calls?token=sesame"]\n',
            "VOICE_GATEWAY_WEBHOOKS_URLS",
        ),
        (
            "[quic]\nroutable_cids = false\n[[config]]\nid = 0\nserver_id_length = 4\nnonce_length = 12\n"
            f'key = "{"00" * 16}"\n',
            "config[0].key: a key does not belong in the settings file: name a file by key_file",
        ),
    ],
)
def test_secrets_in_the_settings_file_are_refused_with_where_to_put_them(folder: Path, more: str, remedy: str) -> None:
    found = said(folder, more)
    (folder / "worker.toml").chmod(0o600)
    [only] = said(folder, more)
    assert remedy in only
    assert "sesame" not in " ".join(found)


def test_a_secret_of_the_environment_is_fine(folder: Path) -> None:
    _, config = loaded(folder)
    settings = load_settings(config, {"VOICE_GATEWAY_ACCESS_TOKEN": "sesame"})
    assert risks(settings, config, USER) == []


def test_insisting_serves_and_logs_each_risk(folder: Path) -> None:
    settings, config = loaded(folder, listen="0.0.0.0:1")
    with pytest.raises(ConfigurationError) as refusal:
        admit(settings, config, Insistence(root=True))
    assert "root" not in str(refusal.value)
    with capture_logs() as logs:
        assert admit(settings, config, Insistence(insecure=True)) is settings
    assert {entry["event"] for entry in logs} == {"risk_accepted"}
    assert len(logs) == len(risks(settings, config, os.geteuid()))


async def test_all_that_does_not_open_is_said_at_once(folder: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        for sock in (udp, tcp):
            sock.bind(("127.0.0.1", 0))
        tcp.listen()
        more = f'[admin]\nlisten = "127.0.0.1:{tcp.getsockname()[1]}"\n[session]\nstore = "sqlite:////dev/null/x"\n'
        settings, _ = loaded(folder, more, listen=f"127.0.0.1:{udp.getsockname()[1]}")
        (folder / "leaf.key").write_text("no key")
        faults = await opening_faults(settings)
    expected = ("private key", "session store", "worker.listen: UDP 127.0.0.1:", "admin.listen: cannot listen")
    assert len(faults) == len(expected)
    for fault, part in zip(faults, expected, strict=True):
        assert part in fault


async def test_two_settings_with_one_port_are_a_fault(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings, _ = loaded(folder, "".join(f'[{name}]\nlisten = "127.0.0.1:{port}"\n' for name in ("admin", "websocket")))
    [fault] = await opening_faults(settings)
    assert "already in use" in fault
    assert await opening_faults(settings, has_ports=False) == []


async def test_what_opens_is_left_closed(folder: Path) -> None:
    settings, _ = loaded(folder, '[admin]\nlisten = "127.0.0.1:0"\n')
    for _ in range(2):
        assert await opening_faults(settings) == []
