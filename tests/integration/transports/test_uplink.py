"""Calls whose frames travel in datagrams, on real sockets."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.integration.support.relay import Address, Relay, relaying
from tests.integration.support.scripted_server import TOKEN, serving
from tests.integration.support.workers import TONE, call_that_goes_on_at_another_worker, calling, ended, working
from voice_client.cli.main import app
from voice_gateway.transport.webtransport import WebTransport
from voicelink.audio.wav import wav_header

MODES = pytest.mark.parametrize("mode", ["hybrid", "deadline"])


def losing(relay: Relay, share: float) -> None:
    """Let the relay swallow that share of what callers send."""
    rng, pass_on = random.Random(5), relay.datagram_received

    def lose(data: bytes, addr: Address) -> None:
        if rng.random() >= share:
            pass_on(data, addr)

    relay.datagram_received = lose  # type: ignore[method-assign]


async def test_a_hybrid_call_over_a_lossy_path_is_complete(tmp_path: Path) -> None:
    async with working(tmp_path) as worker, relaying(worker.addresses.direct) as relay:
        async with calling(relay, tmp_path, uplink="hybrid", codec="opus", resume_timeout_s=0.0) as call:
            losing(relay, 0.1)
            await call.speak(TONE)
            await ended(call)
        (session,) = worker.sessions.ended()
    report = call.report()
    assert report.is_complete
    assert report.uplink == "hybrid"
    assert session.uplink.frames == report.frames_sent == report.frames_acked
    assert session.uplink.duplicates == report.frames_given_up == 0
    assert session.datagrams > report.frames_sent / 2


@MODES
async def test_a_connection_that_dies_in_mid_speech_loses_no_frame(tmp_path: Path, mode: str) -> None:
    async with working(tmp_path) as worker, relaying(worker.addresses.direct) as relay:
        async with calling(relay, tmp_path, uplink=mode) as call:
            speaking = asyncio.create_task(call.speak(TONE))
            await asyncio.sleep(0.5)
            relay.cut()
            await speaking
            await ended(call)
        (session,) = worker.sessions.ended()
    report = call.report()
    assert report.is_complete
    assert len(report.resumes) >= 1
    assert session.uplink.frames == report.frames_sent == report.frames_acked
    assert session.uplink.duplicates == 0


async def test_another_worker_takes_the_call_up(tmp_path: Path) -> None:
    report = await call_that_goes_on_at_another_worker(tmp_path, uplink="hybrid")
    assert report.is_complete
    assert report.resumes[-1].worker == "w-2"
    assert report.frames_acked == report.frames_sent
    assert report.uplink == "hybrid"


async def test_a_migration_in_mid_speech_loses_no_frame(tmp_path: Path) -> None:
    async with working(tmp_path) as worker, relaying(worker.addresses.direct) as relay:
        async with calling(relay, tmp_path, uplink="hybrid", local_address="127.0.0.2", resume_timeout_s=0.0) as call:
            speaking = asyncio.create_task(call.speak(TONE))
            await asyncio.sleep(0.5)
            await call.migrate("127.0.0.3", keep_old_s=0.0)
            await speaking
            await ended(call)
        (session,) = worker.sessions.ended()
    assert call.report().is_complete
    assert session.uplink.frames == call.report().frames_sent


async def command(*arguments: object) -> dict[str, Any]:
    result = await asyncio.to_thread(CliRunner().invoke, app, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout[result.stdout.index("{\n") :])  # behind the worker's log
    return document


def recording(folder: Path) -> Path:
    path = folder / "speech.wav"
    path.write_bytes(wav_header(16_000, len(TONE)) + TONE)
    return path


async def test_the_command_line_chooses_the_mode(tmp_path: Path) -> None:
    async with working(tmp_path) as worker:
        host, port = worker.addresses.direct or ("", 0)
        document = await command(
            *("call", recording(tmp_path), "--url", f"https://{host}:{port}/v1/voice", "--ca", tmp_path / "ca.pem"),
            *("--uplink", "deadline", "--uplink-limit", "0.4", "--no-playback", "--json"),
        )
    assert document["ok"] is True
    assert document["uplink"] == "deadline"
    assert document["frames_acked"] == document["frames_sent"]


async def test_a_server_that_knows_no_modes_gets_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WebTransport, "datagram_uplink", None)
    async with serving(tmp_path) as server:
        document = await command(
            *("call", recording(tmp_path), "--url", server.url, "--ca", server.ca_file, "--token", TOKEN, "--json"),
            *("--uplink", "hybrid", "--codec", "pcm16", "--no-greeting", "--no-playback"),
        )
    assert document["uplink"] == "reliable"
    assert [frame.sequence for frame in server.sessions[0].frames] == list(range(document["frames_sent"]))
