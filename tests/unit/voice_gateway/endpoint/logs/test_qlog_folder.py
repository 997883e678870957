"""qlogs of an endpoint's connections in a folder."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.voice_gateway.endpoint.harness import line
from voice_gateway.endpoint.logs import qlog_folder
from voice_gateway.endpoint.logs.qlog_folder import QlogFolder
from voice_gateway.errors import ConfigurationError


def log(odcid: str, events: int = 1) -> dict[str, Any]:
    trace = {"common_fields": {"ODCID": odcid}, "events": [{"name": "x", "number": n} for n in range(events)]}
    return {"qlog_format": "JSON", "traces": [trace]}


def contents(folder: Path) -> list[tuple[Path, str]]:
    return [(path, path.read_text()) for path in folder.iterdir()]


async def test_the_log_of_a_connection_is_written_when_it_is_forgotten(tmp_path: Path) -> None:
    async with line(qlog_folder=tmp_path) as call:
        await call.connect()
        [served] = call.accepted
        assert contents(tmp_path) == []
        served.discard()
        await asyncio.get_running_loop().shutdown_default_executor()
    [(file, text)] = contents(tmp_path)
    [trace] = json.loads(text)["traces"]
    assert trace["common_fields"]["ODCID"] == served.quic.original_destination_connection_id.hex()
    assert file.name.endswith(f"-{trace['common_fields']['ODCID']}.qlog")
    assert "transport:packet_received" in {event["name"] for event in trace["events"]}


async def test_no_more_than_16_connections_have_a_log_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qlog_folder, "MAX_LOGGED_AT_ONCE", 0)
    async with line(qlog_folder=tmp_path) as call:
        await call.connect()
        [served] = call.accepted
        assert served.quic.configuration.quic_logger is None


def test_a_share_of_connections_is_drawn(tmp_path: Path) -> None:
    draws = iter([0.0, 0.24, 0.25, 0.99])
    folder = QlogFolder(tmp_path, 1 << 20, sample=0.25, draw=lambda: next(draws))
    assert [folder.on_log is not None for _ in range(4)] == [True, True, False, False]


async def test_a_connection_that_is_gone_makes_room_for_the_log_of_another(tmp_path: Path) -> None:
    folder = QlogFolder(tmp_path, 1 << 20)
    async with line() as call:
        await call.connect()
        [served] = call.accepted
        folder.follow(served.quic)
        assert len(folder._logged) == 1
        call.accepted.clear()
        served.discard()
        del served
        await call.exchange(2)
    assert len(folder._logged) == 0


def test_a_log_is_written_as_it_was_for_its_owner_alone(tmp_path: Path) -> None:
    QlogFolder(tmp_path, 1 << 20).write(log("0a", events=3))
    [file] = tmp_path.iterdir()
    assert json.loads(file.read_text()) == log("0a", events=3)
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_oldest_logs_are_deleted_beyond_the_size_cap_and_other_files_are_not(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_bytes(bytes(10_000))
    QlogFolder(tmp_path, 1 << 20, lambda: 1.0).write(log("01"))
    [first] = tmp_path.glob("*.qlog")
    os.utime(first, (1, 1))
    size = first.stat().st_size
    QlogFolder(tmp_path, 2 * size, lambda: 2.0).write(log("02"))
    assert len(list(tmp_path.glob("*.qlog"))) == 2
    QlogFolder(tmp_path, 2 * size, lambda: 3.0).write(log("03"))
    assert sorted(path.name for path in tmp_path.glob("*.qlog")) == ["2000-02.qlog", "3000-03.qlog"]
    assert other.exists()


def test_a_folder_that_does_not_exist_is_refused_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"quic\.qlog_folder must be a folder that the worker can write, got"):
        QlogFolder(tmp_path / "none", 1 << 20)


def test_a_log_that_cannot_be_written_raises_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = QlogFolder(tmp_path, 1 << 20, lambda: 1.0)
    folder.write(log("01"))
    folder.write(log("01"))
    assert "qlog_not_written" in capsys.readouterr().out
