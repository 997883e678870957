"""A worker whose certificate is replaced while it runs, by its files alone and by SIGHUP."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.worker.test_worker_process import PROGRAM, SETTINGS, started
from voice_client import AudioOptions, CertificateRefused, Security, VoiceClient
from voice_gateway.certificates.development import ensure_certificate


class Daemon:
    """The process, and what it has logged."""

    def __init__(self, process: asyncio.subprocess.Process, facts: dict[str, Any]) -> None:
        self.process = process
        self.facts = facts
        self.log: list[dict[str, Any]] = []

    async def until(self, event: str) -> dict[str, Any]:
        assert self.process.stderr
        while True:
            line = await asyncio.wait_for(self.process.stderr.readline(), 20)
            assert line, f"the worker ended without {event}"
            self.log.append(json.loads(line))
            if self.log[-1]["event"] == event:
                return self.log[-1]

    async def metrics(self) -> str:
        def get() -> bytes:
            with urllib.request.urlopen(f"http://{self.facts['admin']}/metrics") as answer:
                contents: bytes = answer.read()
                return contents

        return (await asyncio.to_thread(get)).decode()

    def caller(self, ca: Path) -> VoiceClient:
        return VoiceClient(
            f"https://{self.facts['direct']}/v1/voice",
            security=Security(ca_file=ca),
            audio=AudioOptions(has_playback=False, codec="pcm16"),
        )


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    ensure_certificate(tmp_path / "certs", now=time.time())
    (tmp_path / "worker.toml").write_text(SETTINGS + '[websocket]\nlisten = "127.0.0.1:0"\n')
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *("serve", "--json", "--config", str(tmp_path / "worker.toml")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Daemon(process, await started(process))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def tls_handshake(daemon: Daemon, ca: Path) -> None:
    context = ssl.create_default_context(cafile=ca)
    host, port = daemon.facts["websocket"].rsplit(":", 1)
    _, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="localhost")
    writer.close()
    await writer.wait_closed()


async def test_a_certificate_is_replaced_under_a_call(daemon: Daemon, tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    old_ca = tmp_path / "old.pem"
    old_ca.write_bytes((folder / "ca.pem").read_bytes())
    async with daemon.caller(old_ca) as call:
        first = await daemon.metrics()
        made = ensure_certificate(folder, now=time.time() + 3600, is_forced=True)
        assert (await daemon.until("certificate_renewed"))["sha256"] == made.sha256.hex()
        async with daemon.caller(folder / "ca.pem") as newcomer:
            await newcomer.ping()
        with pytest.raises(CertificateRefused):
            async with daemon.caller(old_ca):
                pass
        await tls_handshake(daemon, folder / "ca.pem")
        call.send_pcm(bytes(32_000))
        await call.finish()
        assert call.is_finished
        assert call.report().as_json()["frames_acked"] == 50

    (folder / "leaf.pem").write_text("nonsense")
    daemon.process.send_signal(signal.SIGHUP)
    assert "certificate cannot be read" in (await daemon.until("reload_refused"))["error"]
    async with daemon.caller(folder / "ca.pem") as newcomer:
        await newcomer.ping()
    metrics = await daemon.metrics()
    assert expiry(first) != expiry(metrics) == made.expires.timestamp()
    assert 'voice_reloads_total{result="done",what="certificate"} 1.0' in metrics
    assert 'voice_reloads_total{result="refused",what="certificate"} 1.0' in metrics


def expiry(metrics: str) -> float:
    (line,) = (line for line in metrics.splitlines() if line.startswith("voice_certificate_expiry_timestamp_seconds "))
    return float(line.split()[1])
