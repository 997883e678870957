"""The page's listener of a worker in this process: files, the page's configuration, and its WebSocket, on one port."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.worker.worker import Worker


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ensure_certificate(tmp_path, now=time.time())
    return tmp_path


@pytest.fixture
async def worker(folder: Path) -> AsyncIterator[Worker]:
    settings = GatewaySettings.model_validate(
        {
            "worker": {"name": "worker-1", "listen": "127.0.0.1:0"},
            "tls": {"certificate": folder / "leaf.pem", "key": folder / "leaf.key"},
            "agent": {"name": "echo"},
            "access": {"token": "sesame"},
            "page": {"listen": "127.0.0.1:0", "voice_url": "https://127.0.0.1:4433/v1/voice", "development": True},
        }
    )
    worker = Worker(settings)
    await worker.start()
    yield worker
    await worker.stop(0.0)


async def get(worker: Worker, folder: Path, path: str, host: str = "127.0.0.1") -> tuple[str, str]:
    assert worker.addresses.page
    tls = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    reader, writer = await asyncio.open_connection(*worker.addresses.page, ssl=tls)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head.decode(), body.decode()


async def test_the_page_is_told_the_certificate_that_is_served_now(worker: Worker, folder: Path) -> None:
    _, body = await get(worker, folder, "/config.json")
    config = json.loads(body)
    assert config["voice_url"] == "https://127.0.0.1:4433/v1/voice"
    assert config["token"] == "sesame"
    assert config["certificate_hashes"] == [base64.b64encode(worker.certificate.identity.fingerprint_sha256).decode()]
    ensure_certificate(folder, now=time.time(), is_forced=True)
    worker.certificate.reload(worker.settings)
    _, body = await get(worker, folder, "/config.json")
    assert json.loads(body)["certificate_hashes"] != config["certificate_hashes"]


@pytest.mark.parametrize(
    "path", ["/../worker.toml", "/%2e%2e/worker.toml", "//etc/passwd", "/static/page.js", "/assets.py"]
)
async def test_no_path_leads_out_of_the_page(worker: Worker, folder: Path, path: str) -> None:
    head, _ = await get(worker, folder, path)
    assert head.startswith("HTTP/1.1 404 ")


async def test_the_page_and_its_websocket_share_a_port(worker: Worker, folder: Path) -> None:
    assert worker.addresses.page
    host, port = worker.addresses.page
    head, _ = await get(worker, folder, "/")
    assert head.startswith(("HTTP/1.1 200 ", "HTTP/1.1 503 "))  # 503 says how to build it
    tls = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"wss://{host}:{port}/v1/voice?token=wrong", ssl=tls, proxy=None)
    assert refused.value.response.status_code == 401


async def test_the_development_token_is_given_to_loopback_hosts_alone(worker: Worker, folder: Path) -> None:
    """A page whose name was rebound to 127.0.0.1 sends that name as its Host."""
    head, body = await get(worker, folder, "/config.json", "attacker.example:8443")
    assert head.startswith("HTTP/1.1 421 ")
    assert "token" not in body
    for host in ("localhost:8443", "[::1]:8443", "127.0.0.1"):
        head, _ = await get(worker, folder, "/config.json", host)
        assert head.startswith("HTTP/1.1 200 ")
