"""The files that the local cluster writes for its processes."""

from __future__ import annotations

import asyncio
import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from deploy.local.serve import _renewed
from tests.unit.voice_gateway.access.access_keys import SECRET
from voice_gateway.access.tokens import DEFAULT_AUDIENCE
from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.settings.gateway_settings import GatewaySettings, load_settings, secrets_given
from voice_gateway.testing.cluster.configuration import Addresses, AgentTable, Secrets, worker_toml

ADDRESSES = Addresses("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", ("127.0.0.1:4",), ("127.0.0.1:5",))


def settings(folder: Path, token: str | None, access_key: Path | None) -> GatewaySettings:
    secrets = Secrets("00" * 16, "11" * 32, "22" * 32, "33" * 32, token=token)
    secrets.write(folder)
    text = worker_toml(
        0,
        ADDRESSES,
        secrets,
        certificates=folder,
        agent=AgentTable("echo"),
        access_key=access_key,
        has_routable_cids=True,
        store="memory://",
        drain_timeout_s=1.0,
    )
    (folder / "worker.toml").write_text(text)
    return load_settings(folder / "worker.toml")


def test_no_secret_stands_in_a_settings_file(tmp_path: Path) -> None:
    settings(tmp_path, "sesame", None)
    assert secrets_given(tmp_path / "worker.toml") == []
    assert (tmp_path / "token.secret").stat().st_mode & 0o077 == 0


def test_access_is_open_unless_asked_otherwise(tmp_path: Path) -> None:
    assert settings(tmp_path, None, None).access.is_open


@pytest.mark.parametrize("token", [None, "sesame"])
def test_workers_check_what_the_cluster_s_key_signs(tmp_path: Path, token: str | None) -> None:
    (tmp_path / "local.key").write_text(SECRET)
    access = settings(tmp_path, token, tmp_path / "local.key").access
    assert [(key.id, key.algorithm) for key in access.read_keys()] == [("local", "HS256")]
    assert access.audience == DEFAULT_AUDIENCE
    assert access.read_token() == token


async def test_the_certificate_is_renewed_before_browsers_refuse_it(tmp_path: Path) -> None:
    ensure_certificate(tmp_path, now=time.time() - 12 * 86_400)
    fingerprint = tmp_path / "fingerprint.txt"
    old = fingerprint.read_text()
    said = io.StringIO()
    async with _renewed(tmp_path, Console(file=said, width=200), look_every_s=0.01), asyncio.timeout(60):
        while "renewed" not in said.getvalue():  # noqa: ASYNC110 - the certificate is made in a thread
            await asyncio.sleep(0.01)
    assert fingerprint.read_text() != old
    assert fingerprint.read_text().split()[0] in said.getvalue()
