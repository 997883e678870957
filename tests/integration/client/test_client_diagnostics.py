"""What the Python client says of itself: debug logs of state changes, and qlog."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.client.test_client import SPEECH
from tests.integration.client.test_client_cli import voice_client
from tests.integration.support.scripted_server import TOKEN, ScriptedServer, serving
from voice_client import AudioOptions, ConnectionOptions, InvalidSetting, Security, VoiceClient
from voicelink.audio.wav import wav_header


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ScriptedServer]:
    async with serving(tmp_path) as server:
        yield server


async def call(server: ScriptedServer, connection: ConnectionOptions, *, is_moved: bool = False) -> None:
    security = Security(token=TOKEN, ca_file=server.ca_file)
    audio = AudioOptions(codec="pcm16", has_playback=False)
    async with VoiceClient(server.url, security=security, audio=audio, connection=connection) as call:
        call.send_pcm(SPEECH)
        if is_moved:
            await call.migrate()
        await call.finish()


def names(log: dict[str, Any]) -> set[str]:
    return {event["name"] for event in log["traces"][0]["events"]}


async def test_a_qlog_directory_gets_the_quic_events_of_each_connection(server: ScriptedServer, tmp_path: Path) -> None:
    folder = tmp_path / "qlog"
    folder.mkdir()
    for _ in range(2):
        await call(server, ConnectionOptions(qlog=str(folder)))
    first, second = sorted(folder.iterdir())
    for file in (first, second):
        log = json.loads(file.read_text())
        assert file.name == f"{log['traces'][0]['common_fields']['ODCID']}.qlog"
        assert {"transport:packet_sent", "transport:packet_received", "recovery:metrics_updated"} <= names(log)


async def test_a_qlog_function_gets_the_finished_log(server: ScriptedServer) -> None:
    logs: list[dict[str, Any]] = []
    await call(server, ConnectionOptions(qlog=logs.append))
    [log] = logs
    assert "transport:packet_received" in names(log)


async def test_a_qlog_that_cannot_be_written_does_not_fail_the_call(
    server: ScriptedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "qlog"
    folder.mkdir()
    options = ConnectionOptions(qlog=folder)
    folder.rmdir()
    folder.mkdir()
    security = Security(token=TOKEN, ca_file=server.ca_file)
    async with VoiceClient(server.url, security=security, connection=options) as call:
        folder.rmdir()
        await call.finish()
    assert "cannot write the qlog: No such file or directory" in caplog.text


def test_a_qlog_directory_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"ConnectionOptions\.qlog is '.*none': give a directory that exists"):
        ConnectionOptions(qlog=tmp_path / "none")


async def test_the_command_writes_a_qlog(server: ScriptedServer, tmp_path: Path) -> None:
    wav, folder = tmp_path / "speech.wav", tmp_path / "qlog"
    wav.write_bytes(wav_header(16_000, len(SPEECH)) + SPEECH)
    folder.mkdir()
    arguments = ("call", wav, "--url", server.url, "--ca", server.ca_file, "--token", TOKEN, "--no-greeting", "--json")
    outcome = await voice_client(*arguments, "--no-playback", "--qlog", folder)
    assert (outcome.status, outcome.err) == (0, "")
    [file] = folder.iterdir()
    assert "transport:packet_sent" in names(json.loads(file.read_text()))
    outcome = await voice_client(*arguments, "--qlog", tmp_path / "none")
    assert outcome.status == 1
    assert outcome.err.endswith("none': give a directory that exists\n")


async def test_each_state_change_is_logged_once_and_in_order(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "voice_client")
    await call(server, ConnectionOptions(), is_moved=True)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("voice_client")]
    assert [line.partition(" ")[0] for line in lines] == [
        "connection_opening",
        "handshake_completed",
        "call_starting",
        "session_opened",
        "call_ready",
        "migration_started",
        "path_validated",
        "call_finishing",
        "call_ended",
        "session_closing",
        "connection_closed",
    ]
    assert lines[4] == "call_ready session=s-1 worker=w-1 uplink=reliable"
    assert lines[8] == "call_ended session=s-1 error=none frames=50 acked=50"
    odcids = {part for line in lines for part in line.split() if part.startswith("odcid=")}
    assert len(odcids) == 1
    assert len(bytes.fromhex(odcids.pop().removeprefix("odcid="))) >= 8


async def test_logs_hold_no_token_transcript_or_state(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "voice_client")
    await call(server, ConnectionOptions())
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("voice_client"))
    assert logged
    for secret in (TOKEN, "black tea", "anything else", "drink-order"):
        assert secret not in logged


async def test_nothing_is_logged_above_debug_level(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "voice_client")
    await call(server, ConnectionOptions())
    assert not [record for record in caplog.records if record.name.startswith("voice_client")]
