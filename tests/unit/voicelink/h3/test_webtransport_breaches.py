"""The WebTransport layer against peers that break the rules."""

from __future__ import annotations

from collections.abc import Callable

import pylsqpack
import pytest
from aioquic.h3.connection import ErrorCode, FrameType, H3Connection, StreamType, encode_frame, encode_settings
from aioquic.h3.events import HeadersReceived

from tests.unit.voicelink.h3.harness import CONNECT, Ends, closed_with, ends, of, open_session, plain_client
from tests.unit.voicelink.quic.harness import connected
from voicelink.h3.limits import MAX_HEADERS_BYTES, MAX_REQUESTS
from voicelink.h3.session.codepoints import SESSION_GONE
from voicelink.h3.webtransport import SessionRequested, StreamData, WebTransportLayer
from voicelink.quic.events import StopSendingReceived
from voicelink.quic.events import StreamReset as QuicStreamReset
from voicelink.wire import encode_varint


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
    both.pair.client.send_stream_data(0, encode_varint(FrameType.HEADERS) + encode_varint(MAX_HEADERS_BYTES + 1))
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
    capacity = bytes((0x3F, 0xE1, 0x1F))  # set dynamic table capacity 4096
    both.pair.client.send_stream_data(6, bytes((StreamType.QPACK_ENCODER,)) + capacity)
    assert closed_with(both) == ErrorCode.QPACK_ENCODER_STREAM_ERROR


def test_no_side_opens_qpack_streams_of_its_own() -> None:
    """RFC 9204 section 4.2: an encoder and a decoder without dynamic table need none."""
    both = ends()
    both.exchange()
    control = {2: both.pair.client, 3: both.pair.server}
    for stream_id, opener in control.items():
        opened = [each for each in opener._streams if each % 4 == stream_id]
        assert opened == [stream_id]


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


def answers(both: Ends, http: H3Connection) -> dict[int, bytes]:
    """The status of each request that was answered."""
    events = [each for event in both.pair.client_events for each in http.handle_event(event)]
    return {each.stream_id: dict(each.headers)[b":status"] for each in events if isinstance(each, HeadersReceived)}


def ask(http: H3Connection, stream_id: int, *, end_stream: bool = True, **changes: str) -> None:
    fields = CONNECT | {f":{name}": value for name, value in changes.items()}
    if changes.get("method", "CONNECT") != "CONNECT":
        del fields[":protocol"]
    http.send_headers(stream_id, [(name.encode(), value.encode()) for name, value in fields.items()], end_stream)


def serve(both: Ends, rounds: int = 4) -> None:
    """Let the server answer, and keep what the client receives."""
    for _ in range(rounds):
        both.pair.exchange(1)
        for event in both.pair.server_events:
            for each in both.server.handle_event(event):
                both._serve(each)
        both.pair.server_events.clear()


def test_finished_requests_give_their_place_back_and_the_live_session_goes_on() -> None:
    both, http = plain_client()
    ask(http, 0, end_stream=False)
    serve(both)
    for number in range(1, 3 * MAX_REQUESTS):
        ask(http, 4 * number, method="GET")
        serve(both, 1)
    serve(both)
    statuses = answers(both, http)
    assert (statuses.pop(0), set(statuses.values()), len(statuses)) == (b"200", {b"404"}, 3 * MAX_REQUESTS - 1)
    assert len(both.server._over) <= MAX_REQUESTS
    http._quic.send_stream_data(2 + 4 * 3, encode_varint(0x54) + b"\0still here")
    both.exchange(2)
    assert [each.data for each in of(StreamData, both.from_client)] == [b"still here"]
    assert not both.pair.server.is_ended


def test_one_request_too_many_is_rejected_alone() -> None:
    both, http = plain_client()
    ask(http, 0, end_stream=False)
    serve(both)
    for _ in range(MAX_REQUESTS + 1):  # none of them is ever finished by the client
        stream_id = both.pair.client.get_next_available_stream_id()
        ask(http, stream_id, end_stream=False, method="GET")
    for stream in both.pair.client._streams.values():
        stream.sender.reset = lambda error_code: None  # type: ignore[method-assign]
    serve(both)
    resets = [event for event in both.pair.client_events if isinstance(event, QuicStreamReset)]
    assert [(each.stream_id, each.error_code) for each in resets] == [
        (4 * (MAX_REQUESTS + 1), ErrorCode.H3_REQUEST_REJECTED)
    ]
    assert not both.pair.server.is_ended


def test_status_405_names_the_method_that_is_allowed() -> None:
    both, http = plain_client()
    ask(http, 0, method="POST")
    serve(both)
    [headers] = [
        each.headers
        for event in both.pair.client_events
        for each in http.handle_event(event)
        if isinstance(each, HeadersReceived)
    ]
    assert dict(headers)[b"allow"] == b"CONNECT"  # RFC 9110 section 15.5.6


def test_trailers_behind_a_finished_request_are_no_request() -> None:
    both, http = plain_client()
    ask(http, 0, end_stream=False)
    serve(both)
    http.send_headers(0, [(b"x-checksum", b"1")], True)
    serve(both)
    assert len(of(SessionRequested, both.from_client)) == 1
    assert not both.pair.server.is_ended


def test_streams_of_a_session_long_forgotten_are_refused() -> None:
    both, http = plain_client()
    ask(http, 0, end_stream=False)
    serve(both)
    both.server.close_session(0, 0, "")
    both.pair.client.send_stream_data(0, b"", True)
    for number in range(1, MAX_REQUESTS + 2):
        ask(http, 4 * number, method="GET")
        serve(both, 1)
    assert 0 not in both.server._over
    late = both.pair.client.get_next_available_stream_id(is_unidirectional=True)
    both.pair.client.send_stream_data(late, encode_varint(0x54) + b"\0late")
    serve(both)
    stops = [event for event in both.pair.client_events if isinstance(event, StopSendingReceived)]
    assert (late, SESSION_GONE) in [(each.stream_id, each.error_code) for each in stops]


@pytest.mark.parametrize("mangle", [lambda data: data[:-1], lambda data: b"\xff" + data, lambda data: bytes(len(data))])
def test_a_mangled_request_ends_the_connection_and_raises_nothing(mangle: Callable[[bytes], bytes]) -> None:
    both = ends()
    block = pylsqpack.Encoder().encode(0, [(b":method", b"CONNECT"), (b":authority", b"x" * 50)])[1]
    both.pair.client.send_stream_data(0, encode_frame(FrameType.HEADERS, mangle(block)), end_stream=True)
    both.exchange()
    assert not of(SessionRequested, both.from_client)
