"""The WebTransport layer between two connections in memory."""

from __future__ import annotations

import pytest
from aioquic.h3.connection import ErrorCode, H3Connection

from tests.unit.voicelink.h3.harness import CONNECT, Ends, ends, of, open_session, plain_client
from voicelink.h3.session.capsules import CloseSession, encode_capsule
from voicelink.h3.session.codepoints import SESSION_GONE
from voicelink.h3.session.early import MAX_EARLY_STREAMS
from voicelink.h3.webtransport import (
    DatagramReceived,
    SessionClosed,
    SessionDraining,
    SessionOpened,
    SessionRefused,
    SessionRequested,
    SessionStopped,
    StreamData,
    StreamReset,
    StreamStopped,
)
from voicelink.wire import encode_varint

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
    layer, events = (both.client, both.from_client) if closer == "client" else (both.server, both.from_server)
    layer.close_session(session_id, 8, "worker drains")
    both.exchange()
    assert of(SessionClosed, events) == [SessionClosed(session_id, 8, "worker drains")]


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


def test_a_peer_that_stops_the_answer_to_its_request_raises_nothing() -> None:
    both, http = plain_client()
    http.send_headers(0, [(name.encode(), value.encode()) for name, value in CONNECT.items()])
    both.pair.client.stop_stream(0, ErrorCode.H3_REQUEST_CANCELLED)
    both.exchange(3)
    assert [type(each) for each in both.from_client] == [SessionRequested]
    assert not both.pair.server.is_ended


def stopped() -> tuple[Ends, H3Connection]:
    both, http = plain_client()
    http.send_headers(0, [(name.encode(), value.encode()) for name, value in CONNECT.items()])
    both.exchange(2)
    both.pair.client.stop_stream(0, SESSION_GONE)
    return both, http


def test_a_stop_ahead_of_the_close_capsule_does_not_cost_its_code() -> None:
    both, http = stopped()
    http.send_data(0, encode_capsule(CloseSession(13, "over there")), True)  # STOP_SENDING goes first in the packet
    both.exchange(2)
    assert both.from_client[1:] == [SessionStopped(0), SessionClosed(0, 13, "over there")]
    assert both.server.end_stopped_session(0) == []
    assert not both.pair.server.is_ended


def test_a_close_capsule_one_packet_behind_the_stop_still_counts() -> None:
    both, http = stopped()
    both.exchange(2)
    both.server.send_datagram(0, b"the session goes on until then")
    both.server.close_session(4, 0, "")
    http.send_data(0, encode_capsule(CloseSession(13, "")), False)
    both.exchange(2)
    assert of(SessionClosed, both.from_client) == [SessionClosed(0, 13, "")]


def test_a_stopped_session_that_never_ends_is_ended_by_its_owner() -> None:
    both, _ = stopped()
    both.exchange(2)
    assert both.from_client[1:] == [SessionStopped(0)]
    assert [type(each) for each in both.server.end_stopped_session(0)] == [SessionClosed]
    assert both.server.end_stopped_session(0) == []


def test_a_stopped_session_can_be_closed_from_this_side() -> None:
    both, _ = stopped()
    both.exchange(2)
    both.server.drain_session(0)
    both.server.close_session(0, 8, "drained")
    both.exchange(2)
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
        "capsule 0x2843 needs 4 bytes of code, got 1"
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
    assert both.client.send_datagram(session_id + 4, b"no session")
    assert not both.client.send_datagram(session_id, bytes(5000))
    both.exchange()
    assert of(DatagramReceived, both.from_client) == [DatagramReceived(session_id, b"quick")]


# Streams whose data is passed on


def passed_on(kind: str = "unidirectional") -> tuple[Ends, int, int, list[bytes]]:
    both, session_id = open_session()
    stream_id = both.client.open_stream(session_id, is_unidirectional=kind == "unidirectional")
    both.client.send(stream_id, b"first")
    both.exchange()
    taken: list[bytes] = []
    both.server.pass_on(stream_id, taken.append)
    return both, session_id, stream_id, taken


@pytest.mark.parametrize("kind", ["unidirectional", "bidirectional"])
def test_what_arrives_on_a_stream_that_is_passed_on_has_a_sink_until_its_end(kind: str) -> None:
    both, session_id, stream_id, taken = passed_on(kind)
    assert both.pair.server.stream_sinks == {stream_id: taken.append}
    both.client.send(stream_id, b"last", end_stream=True)
    both.exchange()
    assert of(StreamData, both.from_client)[-1] == StreamData(
        session_id, stream_id, b"last", True, kind == "unidirectional"
    )
    assert both.pair.server.stream_sinks == {}


def test_a_stream_that_is_passed_on_has_no_sink_after_its_reset() -> None:
    both, session_id, stream_id, _ = passed_on()
    both.client.reset(stream_id, 5)
    both.exchange()
    assert of(StreamReset, both.from_client) == [StreamReset(session_id, stream_id, 5)]
    assert both.pair.server.stream_sinks == {}


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_stream_that_is_passed_on_has_no_sink_once_its_session_is_over(side: str) -> None:
    both, session_id, stream_id, taken = passed_on()
    getattr(both, side).close_session(session_id, 0, "")
    both.exchange()
    assert both.pair.server.stream_sinks == {}
    both.server.pass_on(stream_id, taken.append)
    assert both.pair.server.stream_sinks == {}


def test_a_stream_is_passed_on_only_while_its_session_is_open() -> None:
    both = ends()
    session_id = both.client.connect("gateway.example", "/v1/voice")
    stream_id = both.client.open_stream(session_id, is_unidirectional=False)
    taken: list[bytes] = []
    both.client.pass_on(stream_id, taken.append)
    assert both.pair.client.stream_sinks == {}
