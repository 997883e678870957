"""The debug lines of one connection's life, at an endpoint without sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from typing import Any

import pytest
import structlog

from testbed.waiting import until
from tests.integration.support.udp import issuer
from tests.unit.voice_gateway.endpoint.harness import HOME, line
from tests.unit.voicelink.quic.harness import SERVER_ADDRESS
from voice_gateway.endpoint.logs.connection_log import ConnectionLog
from voicelink.quic import H3_NO_ERROR, QuicErrorCode

STREET = ("203.0.113.9", 4000)
Lines = list[MutableMapping[str, Any]]


def events(lines: Lines, prefix: str = "connection_") -> list[str]:
    return [each["event"] for each in lines if each["event"].startswith(prefix)]


async def test_each_state_change_of_a_connection_is_logged_once_and_in_order() -> None:
    with structlog.testing.capture_logs() as lines:
        async with line() as call:
            await call.connect()
            call.address = STREET
            call.client.send_stream_data(0, b"from another network")
            await call.exchange()
            call.client.close(error_code=H3_NO_ERROR)
            await call.exchange()
            [served] = call.accepted
            await until(lambda: "connection_forgotten" in events(lines), "the end of the draining period")
    assert events(lines) == [
        "connection_accepted",
        "connection_address_validated",
        "connection_handshake_completed",
        "connection_path_changed",
        "connection_migrated",
        "connection_closed",
        "connection_forgotten",
    ]
    by_event = {each["event"]: each for each in lines}
    assert {each["cid"] for each in lines if "cid" in each} == {served.quic.host_cid.hex()}
    assert by_event["connection_accepted"]["peer"] == "198.51.100.1:4000"
    assert by_event["connection_address_validated"]["by"] == "handshake"
    changed = by_event["connection_path_changed"]
    assert (changed["was"], changed["peer"]) == ("198.51.100.1:4000", "203.0.113.9:4000")
    closed = by_event["connection_closed"]
    assert (closed["code"], closed["by"], closed["fault"]) == (H3_NO_ERROR, "client", None)
    assert {each["log_level"] for each in lines} == {"debug"}


async def test_debug_lines_hold_no_token_ticket_or_key() -> None:
    with structlog.testing.capture_logs() as lines:
        async with line(retry_after_half_open=0) as call:
            await call.connect()
    text = repr(lines)
    assert len(call.tokens) == 1
    assert call.tokens[0].hex() not in text
    assert repr(call.tokens[0]) not in text
    [served] = call.accepted
    for cid in served.quic.host_cids:
        assert issuer().reset_token(cid).hex() not in text
    assert not any(isinstance(value, bytes) for each in lines for value in each.values())
    assert next(each for each in lines if each["event"] == "connection_address_validated")["by"] == "retry"


async def test_a_handshake_that_is_given_up_is_a_timeout_and_no_close() -> None:
    with structlog.testing.capture_logs() as lines:
        async with line() as call:
            call.client.connect(SERVER_ADDRESS, call.now)
            [(first, _), *_] = call.client.datagrams_to_send(call.now)
            call.endpoint._public_received(first, HOME)
            await asyncio.sleep(0)
            call.endpoint._expire_handshakes(call.now + 60)
    assert events(lines) == ["connection_accepted", "connection_timed_out", "connection_forgotten"]


async def test_an_idle_timeout_is_logged_as_one_and_not_as_a_close() -> None:
    with structlog.testing.capture_logs() as lines:
        async with line() as call:
            await call.connect()
            [served] = call.accepted
            served._driver._deadline_reached(call.now + 3600)
    assert events(lines)[-2:] == ["connection_timed_out", "connection_forgotten"]
    assert [each["what"] for each in lines if each["event"] == "connection_timed_out"] == ["idle"]


async def test_a_close_by_the_server_for_a_breach_is_the_clients_fault() -> None:
    with structlog.testing.capture_logs() as lines:
        async with line() as call:
            await call.connect()
            [served] = call.accepted
            served.close(QuicErrorCode.PROTOCOL_VIOLATION, "a breach")
    [closed] = [each for each in lines if each["event"] == "connection_closed"]
    assert (closed["by"], closed["fault"], closed["reason"]) == ("server", "client", "a breach")


async def test_connection_ids_are_logged_in_hexadecimal_as_the_table_takes_them() -> None:
    with structlog.testing.capture_logs() as lines:
        async with line() as call:
            await call.connect()
            [served] = call.accepted
            issued = {each["issued"] for each in lines if each["event"] == "cid_issued"}
            original = served.quic.original_destination_connection_id.hex()
            # the table keeps that for three probe timeouts
            assert issued == {cid.hex() for cid in call.endpoint._cid_table} | {original}
            assert [each["retired"] for each in lines if each["event"] == "cid_retired"] == [original]


def test_nothing_is_built_where_debug_lines_are_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    try:
        log = ConnectionLog(b"12345678")
    finally:
        structlog.reset_defaults()
    monkeypatch.setattr(
        "voice_gateway.endpoint.logs.connection_log.peer_name", lambda path: pytest.fail("a string is built")
    )
    log.accepted(HOME, b"original")
    log.path_is(STREET)
    log.migrated(STREET)
    log.closed(0, by="client")
    assert not log.is_enabled
