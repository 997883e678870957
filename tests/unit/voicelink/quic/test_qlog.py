"""qlog, switched on for one connection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aioquic.quic.packet import QuicTransportParameters

from tests.unit.voicelink.quic.harness import Pair, connected, of
from tests.unit.voicelink.quic.qlog_schema import check_qlog
from voicelink.quic import qlog
from voicelink.quic.events import StreamDataReceived
from voicelink.quic.qlog import qlog_logger


def ended(pair: Pair) -> None:
    pair.client.send_stream_data(0, b"hello", end_stream=True)
    pair.exchange()
    pair.client.close()
    pair.exchange()
    for _ in range(8):
        pair.now += 1.0
        pair.fire_timers()


def say(pair: Pair, data: bytes) -> None:
    pair.client.send_stream_data(0, data)
    for _ in range(3):
        pair.exchange()


def sent_stream_bytes(log: dict[str, Any]) -> int:
    sent = (event["data"]["frames"] for event in log["traces"][0]["events"] if event["name"] == "transport:packet_sent")
    return sum(frame["length"] for frames in sent for frame in frames if frame["frame_type"] == "stream")


def frames_of(event: dict[str, Any]) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = event["data"].get("frames", [])
    return frames


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


def test_the_log_of_a_connection_that_is_dropped_without_a_close_is_finished() -> None:
    logs: list[dict[str, Any]] = []
    pair = connected(qlog=logs.append)
    pair.server.release()
    assert len(logs) == 1
    pair.server.release()
    assert len(logs) == 1


def test_a_log_holds_its_first_events_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qlog, "MAX_EVENTS", 10)
    logs: list[dict[str, Any]] = []
    ended(connected(qlog=logs.append))
    assert len(logs[0]["traces"][0]["events"]) == 10


def test_a_log_begins_and_ends_while_the_connection_goes_on() -> None:
    pair = connected()
    logs: list[Any] = []
    say(pair, b"before")
    assert pair.client.start_qlog(logs.append)
    assert not pair.client.start_qlog(logs.append)
    say(pair, b"meanwhile")
    pair.client.stop_qlog()
    say(pair, b"after")
    [log] = logs
    assert names(log) >= {"transport:packet_sent", "transport:packet_received", "recovery:metrics_updated"}
    assert sent_stream_bytes(log) == len(b"meanwhile")
    received = of(StreamDataReceived, pair.server_events)
    assert b"".join(event.data for event in received) == b"beforemeanwhileafter"


def test_a_whole_log_and_one_on_demand_are_as_qvis_reads_them() -> None:
    logs: list[dict[str, Any]] = []
    pair = connected(qlog=logs.append)
    pair.client.start_qlog(logs.append)
    say(pair, b"hello" * 500)
    pair.client.send_datagram_frame(b"frame")
    pair.drop = lambda sender, datagram: sender == "client"
    say(pair, b"lost")
    pair.drop = lambda sender, datagram: False
    pair.client.reset_stream(0, 7)
    pair.server.stop_stream(0, 7)
    pair.client.change_connection_id()
    pair.client_address = ("198.51.100.8", 40_002)
    pair.client.send_ping(1)
    for _ in range(4):
        pair.exchange()
    pair.client.stop_qlog()
    ended(pair)
    on_demand, whole = logs
    frames = {frame["frame_type"] for log in logs for event in log["traces"][0]["events"] for frame in frames_of(event)}
    assert frames >= {"ack", "crypto", "stream", "datagram", "reset_stream", "stop_sending", "new_connection_id"}
    assert frames >= {"path_challenge", "path_response", "retire_connection_id", "handshake_done", "connection_close"}
    assert "transport:packet_sent" in check_qlog(on_demand)
    assert {"transport:parameters_set", "security:key_updated"} <= check_qlog(json.loads(json.dumps(whole)))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda log: log | {"qlog_version": "0.4"}, "Invalid enum value '0.4'"),
        (lambda log: {key: value for key, value in log.items() if key != "qlog_format"}, "qlog_format"),
        (lambda log: log["traces"][0]["events"].reverse() or log, "order of their times"),
        (lambda log: log["traces"][0]["events"][-1].update(name="transport:unknown") or log, "no event of the schema"),
        (lambda log: log["traces"][0]["events"][-1].update(time=7) or log, "Expected"),
    ],
)
def test_a_qlog_that_qvis_would_not_read_is_found(change: Any, fault: str) -> None:
    """The control of the test above."""
    logs: list[dict[str, Any]] = []
    ended(connected(qlog=logs.append))
    check_qlog(logs[0])
    with pytest.raises((AssertionError, msgspec.ValidationError), match=fault):
        check_qlog(change(logs[0]))


def test_the_fast_path_is_off_while_a_connection_is_logged() -> None:
    pair = connected()
    say(pair, b"steady")
    assert pair.client._fast_path.sender is not None
    pair.client.start_qlog(lambda log: None)
    say(pair, b"logged")
    assert pair.client._fast_path.sender is None
    pair.client.stop_qlog()
    say(pair, b"steady again")
    assert pair.client._fast_path.sender is not None


def test_a_connection_that_is_over_gets_no_log() -> None:
    pair = connected()
    ended(pair)
    assert not pair.client.start_qlog(lambda log: None)


def test_a_log_holds_no_token() -> None:
    trace = qlog_logger(lambda log: None).start_trace(is_client=True, odcid=b"12345678")
    assert trace.encode_new_token_frame(b"address token")["token"] == "hidden"
    assert trace.encode_new_connection_id_frame(b"cid", 0, 1, b"reset token here")["reset_token"] == "hidden"
    parameters = QuicTransportParameters(stateless_reset_token=b"reset token here")
    assert trace.encode_transport_parameters("remote", parameters)["stateless_reset_token"] == "hidden"


def test_a_log_holds_no_credentials_of_http_and_takes_headers_that_are_no_utf_8() -> None:
    logs: list[dict[str, Any]] = []
    trace = qlog_logger(logs.append).start_trace(is_client=False, odcid=b"12345678")
    headers = [(b":path", b"/v1/voice?token=sesame"), (b"authorization", b"Bearer sesame"), (b"x", b"\xff")]
    frame = trace.encode_http3_headers_frame(3, headers, 0)["frame"]
    assert "sesame" not in json.dumps(frame)
    assert frame["headers"][0] == {"name": ":path", "value": "/v1/voice"}
