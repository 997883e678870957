"""A worker whose certificate is replaced while it runs, by its files alone and by SIGHUP."""

from __future__ import annotations

import asyncio
import signal
import ssl
import time
from pathlib import Path

import pytest

from tests.integration.support.worker_process import WorkerProcess
from voice_client import CertificateRefused
from voice_gateway.certificates.development import ensure_certificate


async def tls_handshake(daemon: WorkerProcess, ca: Path) -> None:
    context = ssl.create_default_context(cafile=ca)
    host, port = daemon.facts["websocket"].rsplit(":", 1)
    _, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="localhost")
    writer.close()
    await writer.wait_closed()


async def test_a_certificate_is_replaced_under_a_call(daemon: WorkerProcess, tmp_path: Path) -> None:
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
