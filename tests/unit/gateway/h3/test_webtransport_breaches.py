"""The WebTransport layer against peers that break the rules."""

from __future__ import annotations

from collections.abc import Callable

import pylsqpack
import pytest
from aioquic.h3.connection import ErrorCode, FrameType, encode_frame, encode_settings

from gateway.h3.limits import MAX_HEADERS_OCTETS, MAX_REQUESTS
from gateway.h3.webtransport import (
    SessionRequested,
    WebTransportLayer,
)
from gateway.wire import encode_varint
from tests.unit.gateway.h3.harness import CONNECT, Ends, closed_with, ends, of, open_session, plain_client
from tests.unit.gateway.quic.harness import connected


def test_a_webtransport_frame_inside_the_connect_stream_is_an_error() -> None:
    both, session_id = open_session()
    both.pair.client.send_stream_data(session_id, encode_varint(0x41) + encode_varint(session_id) + b"smuggled")
    assert closed_with(both) == ErrorCode.H3_FRAME_UNEXPECTED


@pytest.mark.parametrize("header", [encode_varint(0x41), encode_varint(0x54)])
def test_a_stream_of_a_session_id_that_can_be_none_is_an_error(header: bytes) -> None:
    both, _ = open_session()
    stream_id = both.pair.client.get_next_available_stream_id(is_unidirectional=header == encode_varint(0x54))
    both.pair.client.send_stream_data(stream_id, header + encode_varint(3) + b"x")
    assert closed_with(both) == ErrorCode.H3_ID_ERROR


def test_a_server_that_opens_a_request_stream_is_an_error() -> None:
    both, _ = open_session()
    both.pair.server.send_stream_data(1, encode_frame(FrameType.DATA, b"x"))
    assert closed_with(both) == ErrorCode.H3_STREAM_CREATION_ERROR


def test_headers_beyond_the_cap_are_refused_from_their_length_alone() -> None:
    both = ends()
    both.pair.client.send_stream_data(0, encode_varint(FrameType.HEADERS) + encode_varint(MAX_HEADERS_OCTETS + 1))
    assert closed_with(both) == ErrorCode.H3_EXCESSIVE_LOAD


def test_headers_that_decode_to_more_than_the_limit_are_refused() -> None:
    both = ends()
    block = b"\0\0" + bytes((0xC0 | 31,)) * 4000  # 4000 references to one static field
    both.pair.client.send_stream_data(0, encode_frame(FrameType.HEADERS, block))
    assert closed_with(both) == ErrorCode.H3_EXCESSIVE_LOAD


def test_the_dynamic_qpack_table_has_no_room() -> None:
    both = ends()
    encoder = pylsqpack.Encoder()
    encoder.apply_settings(max_table_capacity=4096, blocked_streams=16)
    both.pair.client.send_stream_data(6, bytes((0x3F, 0xE1, 0x1F)))  # set dynamic table capacity 4096
    assert closed_with(both) == ErrorCode.QPACK_ENCODER_STREAM_ERROR


def test_settings_too_large_are_refused_before_they_are_kept() -> None:
    pair = connected()
    server = WebTransportLayer(pair.server)
    pair.client.send_stream_data(2, b"\0" + encode_varint(FrameType.SETTINGS) + encode_varint(1 << 20))
    both = Ends(pair, None, server)
    pair.client_events.clear()
    pair.exchange(1)
    for event in pair.server_events:
        server.handle_event(event)
    assert both.server._quic.is_ended


def test_settings_with_absurd_qpack_numbers_do_no_harm() -> None:
    pair = connected()
    server = WebTransportLayer(pair.server)
    settings = encode_settings({0x1: (1 << 62) - 1, 0x7: (1 << 62) - 1})
    pair.client.send_stream_data(2, b"\0" + encode_frame(FrameType.SETTINGS, settings))
    pair.exchange(1)
    for event in pair.server_events:
        server.handle_event(event)
    assert not pair.server.is_ended


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, b"200"),
        ({":method": "GET"}, b"404"),
        ({":method": "POST"}, b"405"),
        ({":protocol": "websocket"}, b"501"),
        ({":protocol": None}, b"501"),
        ({":scheme": "http"}, b"400"),
        ({":scheme": None}, b"400"),
        ({":path": None, ":scheme": None}, b"400"),
        ({":path": "relative"}, b"400"),
    ],
)
def test_only_a_sound_webtransport_connect_becomes_a_session(changes: dict[str, str | None], status: bytes) -> None:
    both, http = plain_client()
    fields = {name: value for name, value in (CONNECT | changes).items() if value is not None}
    http.send_headers(0, [(name.encode(), value.encode()) for name, value in fields.items()])
    both.pair.exchange(1)
    for event in both.pair.server_events:
        for each in both.server.handle_event(event):
            both._serve(each)
    both.pair.server_events.clear()
    both.pair.exchange(3)
    answers = [each for event in both.pair.client_events for each in http.handle_event(event)]
    [headers] = [each.headers for each in answers if hasattr(each, "headers")]
    assert (b":status", status) in headers
    assert bool(of(SessionRequested, both.from_client)) == (status == b"200")


def test_aioquics_settings_are_extended_by_a_field_section_limit_and_no_dynamic_table() -> None:
    both, http = plain_client()
    both.pair.exchange(2)
    for event in both.pair.client_events:
        http.handle_event(event)
    settings = http.received_settings
    assert settings is not None
    assert (settings[0x1], settings[0x7], settings[0x8], settings[0x33], settings[0x2B603742]) == (0, 0, 1, 1, 1)


def test_requests_on_one_connection_are_limited() -> None:
    both = ends()
    both.refusal = 404
    for _ in range(MAX_REQUESTS + 1):
        both.client.connect("gateway.example", "/elsewhere")
        both.exchange(1)
    assert closed_with(both) == ErrorCode.H3_EXCESSIVE_LOAD


@pytest.mark.parametrize("mangle", [lambda data: data[:-1], lambda data: b"\xff" + data, lambda data: bytes(len(data))])
def test_a_mangled_request_ends_the_connection_and_raises_nothing(mangle: Callable[[bytes], bytes]) -> None:
    both = ends()
    block = pylsqpack.Encoder().encode(0, [(b":method", b"CONNECT"), (b":authority", b"x" * 50)])[1]
    both.pair.client.send_stream_data(0, encode_frame(FrameType.HEADERS, mangle(block)), end_stream=True)
    both.exchange()
    assert not of(SessionRequested, both.from_client)
