"""qlog, switched on for one connection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.voicelink.quic.harness import Pair, connected


def ended(pair: Pair) -> None:
    pair.client.send_stream_data(0, b"hello", end_stream=True)
    pair.exchange()
    pair.client.close()
    pair.exchange()
    for _ in range(8):
        pair.now += 1.0
        pair.fire_timers()


def names(log: dict[str, Any]) -> set[str]:
    return {event["name"] for event in log["traces"][0]["events"]}


def test_a_callback_gets_the_log_when_the_connection_has_ended() -> None:
    logs: list[dict[str, Any]] = []
    pair = connected(qlog=logs.append)
    assert not logs
    ended(pair)
    [log] = logs
    assert {"transport:packet_sent", "transport:packet_received", "recovery:metrics_updated"} <= names(log)


def test_a_folder_gets_one_file_for_each_connection(tmp_path: Path) -> None:
    pair = connected(qlog=tmp_path)
    ended(pair)
    [file] = tmp_path.iterdir()
    assert file.name == f"{pair.client.original_destination_connection_id.hex()}.qlog"
    assert "transport:packet_received" in names(json.loads(file.read_text()))


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        connected(qlog=tmp_path / "none")


def test_a_connection_without_qlog_logs_nothing_though_its_configuration_is_shared() -> None:
    logs: list[dict[str, Any]] = []
    pair = connected(qlog=logs.append)
    assert pair.client.configuration.quic_logger is None
    assert pair.server.configuration.quic_logger is not None
