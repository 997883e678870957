"""The WebTransport layer between two connections in memory, and against peers that break its rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pylsqpack
import pytest
from aioquic.h3.connection import ErrorCode, FrameType, H3Connection, encode_frame, encode_settings
from aioquic.quic.events import ConnectionTerminated

from gateway.h3.webtransport import (
    MAX_EARLY_STREAMS,
    MAX_HEADERS_OCTETS,
    MAX_REQUESTS,
    DatagramReceived,
    SessionClosed,
    SessionDraining,
    SessionOpened,
    SessionRefused,
    SessionRequested,
    StreamData,
    StreamReset,
    StreamStopped,
    WebTransportEvent,
    WebTransportLayer,
)
from gateway.wire import encode_varint
from tests.unit.gateway.quic.harness import Pair, connected

E = TypeVar("E")


@dataclass
class Ends:
    """A pair of connections with a layer on each; the server accepts all, or answers with `refusal`."""

    pair: Pair
    client: Any
    server: WebTransportLayer
    refusal: int | None = None
    from_client: list[WebTransportEvent] = field(default_factory=list)
    from_server: list[WebTransportEvent] = field(default_factory=list)

    def exchange(self, rounds: int = 4) -> None:
        for _ in range(rounds):
            self.pair.exchange(1)
            self.handle()

    def handle(self) -> None:
        for event in self.pair.server_events:
            for each in self.server.handle_event(event):
                self._serve(each)
        for event in self.pair.client_events if self.client is not None else ():
            self.from_server += self.client.handle_event(event)
        self.ended = [
            event
            for event in self.pair.client_events + self.pair.server_events
            if isinstance(event, ConnectionTerminated)
        ] or self.ended
        self.pair.server_events.clear()
        self.pair.client_events.clear()

    ended: list[ConnectionTerminated] = field(default_factory=list)

    def _serve(self, event: WebTransportEvent) -> None:
        self.from_client.append(event)
        if isinstance(event, SessionRequested):
            if self.refusal is not None:
                self.server.refuse(event.session_id, self.refusal)
            else:
                for early in self.server.accept(event.session_id):
                    self._serve(early)


def ends() -> Ends:
    pair = connected()
    pair.client_events.clear()
    pair.server_events.clear()
    return Ends(pair, WebTransportLayer(pair.client), WebTransportLayer(pair.server))


def open_session() -> tuple[Ends, int]:
    both = ends()
    session_id = both.client.connect("gateway.example", "/v1/voice")
    both.exchange()
    return both, session_id


def of(kind: type[E], events: list[WebTransportEvent]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def closed_with(both: Ends) -> int:
    both.exchange()
    both.pair.now += 10
    both.exchange(1)
    return both.ended[0].error_code


# Sessions


def test_a_session_is_requested_and_opened() -> None:
    both = ends()
    session_id = both.client.connect("gateway.example", "/v1/voice?x=1", {"authorization": "Bearer t", "origin": "o"})
    both.exchange()
    [request] = of(SessionRequested, both.from_client)
    assert (request.authority, request.path, request.origin) == ("gateway.example", "/v1/voice?x=1", "o")
    assert request.headers["authorization"] == "Bearer t"
    [opened] = of(SessionOpened, both.from_server)
    assert opened.session_id == session_id


@pytest.mark.parametrize("status", [401, 404, 429, 503])
def test_a_refused_session_tells_its_status(status: int) -> None:
    both = ends()
    both.refusal = status
    session_id = both.client.connect("gateway.example", "/v1/voice")
    both.exchange()
    assert both.from_server == [SessionRefused(session_id, status)]


def test_streams_sent_with_the_request_wait_for_the_answer() -> None:
    both = ends()
    session_id = both.client.connect("gateway.example", "/v1/voice")
    stream_id = both.client.open_stream(session_id, is_unidirectional=True)
    both.client.send(stream_id, b"early")
    both.exchange()
    assert of(StreamData, both.from_client) == [StreamData(session_id, stream_id, b"early", False, True)]


def test_a_stream_that_overtakes_its_request_is_delivered_once_the_session_is_open() -> None:
    both = ends()
    stream_id = both.client.open_stream(0, is_unidirectional=True)
    both.client.send(stream_id, b"overtaking", end_stream=True)
    both.exchange()
    assert both.from_client == []
    both.client.connect("gateway.example", "/v1/voice")
    both.exchange()
    assert of(StreamData, both.from_client) == [StreamData(0, stream_id, b"overtaking", True, True)]


def test_streams_that_overtake_are_limited() -> None:
    both = ends()
    streams = [both.client.open_stream(0, is_unidirectional=True) for _ in range(MAX_EARLY_STREAMS + 1)]
    for stream_id in streams:
        both.client.send(stream_id, b"x")
    both.exchange()
    assert [each.stream_id for each in of(StreamStopped, both.from_server)] == [streams[-1]]


@pytest.mark.parametrize("closer", ["client", "server"])
def test_either_side_closes_a_session_with_code_and_reason(closer: str) -> None:
    both, session_id = open_session()
    layer, heard = (both.client, both.from_client) if closer == "client" else (both.server, both.from_server)
    layer.close_session(session_id, 8, "worker drains")
    both.exchange()
    assert of(SessionClosed, heard) == [SessionClosed(session_id, 8, "worker drains")]


def test_the_end_of_a_session_resets_its_streams() -> None:
    both, session_id = open_session()
    stream_id = both.client.open_stream(session_id, is_unidirectional=False)
    both.client.send(stream_id, b"hello")
    both.exchange()
    both.server.close_session(session_id, 0, "")
    both.exchange()
    assert stream_id not in both.pair.client._streams
    assert stream_id not in both.pair.server._streams
    both.client.send(stream_id, b"dropped")
    assert not both.ended


def test_a_session_drains() -> None:
    both, session_id = open_session()
    both.server.drain_session(session_id)
    both.exchange()
    assert of(SessionDraining, both.from_server) == [SessionDraining(session_id)]


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_session_whose_stream_just_ends_or_is_reset_is_closed(is_reset: bool) -> None:
    both, http = plain_client()
    http.send_headers(0, [(name.encode(), value.encode()) for name, value in CONNECT.items()])
    both.exchange(2)
    if is_reset:
        both.pair.client.reset_stream(0, ErrorCode.H3_REQUEST_CANCELLED)
    else:
        both.pair.client.send_stream_data(0, b"", True)
    both.exchange(2)
    assert [each.code for each in of(SessionClosed, both.from_client)] == [0]


@pytest.mark.parametrize("is_open", [False, True])
def test_a_peer_that_stops_the_answer_to_its_request_raises_nothing(is_open: bool) -> None:
    both, http = plain_client()
    http.send_headers(0, [(name.encode(), value.encode()) for name, value in CONNECT.items()])
    if is_open:
        both.exchange(2)
    both.pair.client._streams[0].receiver.stop(ErrorCode.H3_REQUEST_CANCELLED)
    both.exchange(3)
    assert [type(each) for each in both.from_client] == [SessionRequested, *[SessionClosed] * is_open]
    assert not both.pair.server.is_ended


def test_data_of_a_closed_session_is_refused_and_what_is_sent_into_it_is_dropped() -> None:
    both, session_id = open_session()
    stream_id = both.server.open_stream(session_id, is_unidirectional=True)
    both.client.close_session(session_id, 0, "")
    both.server.send(stream_id, b"late")
    both.exchange()
    both.server.send(stream_id, b"later")
    late = both.client.open_stream(session_id, is_unidirectional=True)
    both.client.send(late, b"late")
    both.exchange()
    assert not of(StreamData, both.from_client + both.from_server)
    assert late in [each.stream_id for each in of(StreamStopped, both.from_server)]


def test_capsules_unknown_to_us_are_skipped() -> None:
    both, session_id = open_session()
    grease = encode_varint(0x1D + 0x1F) + b"\x04abcd"
    both.client._h3.send_data(session_id, grease, end_stream=False)
    both.client.drain_session(session_id)
    both.exchange()
    assert of(SessionDraining, both.from_client) == [SessionDraining(session_id)]


def test_a_malformed_capsule_ends_the_session() -> None:
    both, session_id = open_session()
    both.client._h3.send_data(session_id, encode_varint(0x2843) + b"\x01x", end_stream=False)
    both.exchange()
    assert [each.reason for each in of(SessionClosed, both.from_client)] == [
        "capsule 0x2843 needs 4 octets of code, got 1"
    ]


# Streams


def test_a_server_opened_bidirectional_stream_is_answered_on() -> None:
    both, session_id = open_session()
    stream_id = both.server.open_stream(session_id, is_unidirectional=False)
    both.server.send(stream_id, b"question")
    both.exchange()
    assert of(StreamData, both.from_server)[-1].data == b"question"
    both.client.send(stream_id, b"\x00answer that is no HTTP/3 frame", end_stream=True)
    both.exchange()
    assert of(StreamData, both.from_client) == [
        StreamData(session_id, stream_id, b"\x00answer that is no HTTP/3 frame", True, False)
    ]
    assert not both.ended


def test_codes_of_resets_and_stops_are_the_applications() -> None:
    both, session_id = open_session()
    first = both.client.open_stream(session_id, is_unidirectional=True)
    second = both.server.open_stream(session_id, is_unidirectional=True)
    both.client.send(first, b"a")
    both.server.send(second, b"b")
    both.exchange()
    both.client.reset(first, 77)
    both.client.stop(second, 78)
    both.exchange()
    assert of(StreamReset, both.from_client) == [StreamReset(session_id, first, 77)]
    assert of(StreamStopped, both.from_client) == [StreamStopped(session_id, second, 78)]


def test_a_stream_that_was_ended_can_be_reset_until_it_is_delivered() -> None:
    both, session_id = open_session()
    stream_id = both.server.open_stream(session_id, is_unidirectional=True)
    both.server.send(stream_id, bytes(200_000), end_stream=True)
    both.exchange(1)
    both.server.reset(stream_id, 11)
    both.exchange()
    assert of(StreamReset, both.from_server) == [StreamReset(session_id, stream_id, 11)]


def test_finished_streams_leave_nothing_behind() -> None:
    both, session_id = open_session()
    for _ in range(20):
        stream_id = both.client.open_stream(session_id, is_unidirectional=False)
        both.client.send(stream_id, b"x", end_stream=True)
        both.exchange(2)
        both.server.send(stream_id, b"y", end_stream=True)
        both.exchange(2)
    assert not both.server._streams
    assert not both.client._streams
    assert all(each % 4 != 0 or each == session_id for each in both.server._h3._stream)


def test_datagrams_reach_their_session_and_no_other() -> None:
    both, session_id = open_session()
    assert both.client.send_datagram(session_id, b"quick")
    assert both.client.send_datagram(session_id + 4, b"nobody's")
    assert not both.client.send_datagram(session_id, bytes(5000))
    both.exchange()
    assert of(DatagramReceived, both.from_client) == [DatagramReceived(session_id, b"quick")]


# A peer that breaks the rules


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


def plain_client() -> tuple[Ends, H3Connection]:
    """The server's layer against aioquic's own HTTP/3 client."""
    pair = connected()
    pair.client_events.clear()
    pair.server_events.clear()
    both = Ends(pair, None, WebTransportLayer(pair.server))
    return both, H3Connection(pair.client, enable_webtransport=True)


CONNECT = {
    ":method": "CONNECT",
    ":scheme": "https",
    ":authority": "gateway.example",
    ":path": "/v1/voice",
    ":protocol": "webtransport",
}


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
