"""The client against a real worker."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from testbed.waiting import until
from voice_client import (
    AccessRefused,
    AudioOptions,
    ConnectionOptions,
    Draining,
    MigrationFailed,
    Security,
    ServerDrained,
    VoiceClient,
)
from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.transport.base import TransportHandler
from voice_gateway.transport.webtransport import WebTransport
from voice_gateway.worker.worker import Worker

TOKEN = "sesame"
TONE = (np.sin(np.arange(12_800) / 10) * 8000).astype("<i2").tobytes()


@asynccontextmanager
async def working(folder: Path, **quic: bool) -> AsyncIterator[tuple[Worker, str]]:
    ensure_certificate(folder, now=time.time())
    worker = Worker(
        GatewaySettings.model_validate(
            {
                "worker": {"name": "w-echo", "listen": "127.0.0.1:0"},
                "tls": {"certificate": folder / "leaf.pem", "key": folder / "leaf.key"},
                "agent": {"name": "echo"},
                "access": {"token": TOKEN},
                "quic": quic,
            }
        )
    )
    await worker.start()
    try:
        assert worker.addresses.direct is not None
        yield worker, f"https://127.0.0.1:{worker.addresses.direct[1]}/v1/voice"
    finally:
        await worker.stop(0.2)


@pytest.mark.parametrize("codec", ["opus", "pcm16"])
async def test_an_echo_survives_a_move_in_mid_speech(tmp_path: Path, codec: Literal["opus", "pcm16"]) -> None:
    async with working(tmp_path) as (_, url):
        client = VoiceClient(
            url,
            security=Security(token=TOKEN, ca_file=tmp_path / "ca.pem"),
            audio=AudioOptions(codec=codec),
            connection=ConnectionOptions(local_address="127.0.0.2", resume_timeout_s=0),
        )
        async with client as call:
            speaking = asyncio.create_task(call.speak(TONE))
            await asyncio.sleep(0.3)
            migration = await call.migrate("127.0.0.3")
            await speaking
            await call.listen()
            await call.finish()
            report = call.report().as_json()
    assert report["ok"]
    assert report["worker"] == "w-echo"
    assert report["frames_acked"] == report["frames_sent"] > 0
    assert report["played_ms"] >= 600
    assert len(report["reply_latencies_ms"]) == 1
    assert migration.new.startswith("127.0.0.3:")
    assert call.state["utterances"] == 1


async def test_a_worker_that_cannot_be_found_after_a_move_forbids_it(tmp_path: Path) -> None:
    async with (
        working(tmp_path, unroutable_clients_may_migrate=False) as (_, url),
        VoiceClient(
            url,
            security=Security(token=TOKEN, ca_file=tmp_path / "ca.pem"),
            audio=AudioOptions(has_playback=False),
            connection=ConnectionOptions(resume_timeout_s=0),
        ) as call,
    ):
        with pytest.raises(MigrationFailed, match="the server allows no migration"):
            await call.migrate()
        await call.finish()


async def test_a_worker_wants_its_token(tmp_path: Path) -> None:
    async with working(tmp_path) as (_, url):
        for token in (None, "other"):
            with pytest.raises(AccessRefused):
                async with VoiceClient(url, security=Security(token=token, ca_file=tmp_path / "ca.pem")):
                    pass


async def test_a_draining_worker_says_so_and_ends_the_call(tmp_path: Path) -> None:
    async with (
        working(tmp_path) as (worker, url),
        VoiceClient(
            url,
            security=Security(token=TOKEN, ca_file=tmp_path / "ca.pem"),
            connection=ConnectionOptions(resume_timeout_s=0),
        ) as call,
    ):
        stopping = asyncio.create_task(worker.stop(0.3))
        with pytest.raises(ServerDrained, match="the server went away before the call was finished"):
            await call.speak(os.urandom(64_000))
        await stopping
        assert 0.3 in [event.deadline_s async for event in call.events() if isinstance(event, Draining)]


async def test_a_drain_capsule_moves_the_call_to_another_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that goes away sends it on its own: there is no message beside it."""
    transports: list[WebTransport] = []
    begin = WebTransport.begin

    def noting(transport: WebTransport, handler: TransportHandler) -> None:
        transports.append(transport)
        begin(transport, handler)

    monkeypatch.setattr(WebTransport, "begin", noting)
    async with (
        working(tmp_path) as (_, url),
        VoiceClient(
            url, security=Security(token=TOKEN, ca_file=tmp_path / "ca.pem"), audio=AudioOptions(has_playback=False)
        ) as call,
    ):
        await call.speak(TONE)
        former, moves = transports[-1], len(call.resumes)
        former._layer.drain_session(former._session_id)
        former._connection.flush_soon()
        await until(lambda: len(call.resumes) > moves, "the call has moved")
        assert transports[-1] is not former
        await call.speak(TONE)
        await call.finish()
        report = call.report().as_json()
    assert report["ok"]
    assert report["frames_acked"] == report["frames_sent"] > 0
