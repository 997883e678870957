"""The server's layer against a scripted client of each dialect: PROTOCOL.md section 1.1."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from aioquic.h3.connection import ErrorCode

from tests.unit.voicelink.h3.harness import of
from tests.unit.voicelink.h3.peers import (
    CHROMIUM,
    CHROMIUM_07,
    ENABLE_WEBTRANSPORT,
    FIREFOX,
    INITIAL_MAX_DATA,
    INITIAL_MAX_STREAMS_BIDI,
    INITIAL_MAX_STREAMS_UNI,
    MAX_SESSIONS_07,
    MAX_SESSIONS_13,
    PYWEBTRANSPORT,
    SAFARI,
    SAFARI_14,
    WEBTRANSPORT_GO,
    WT_ENABLED,
    Peer,
    RefusedError,
    Script,
)
from voicelink.h3 import http3
from voicelink.h3.limits import MAX_SESSIONS, MAX_WAITING_PIECES
from voicelink.h3.session.capsules import (
    CloseSession,
    DataBlocked,
    DrainSession,
    MaxData,
    MaxStreams,
    StreamsBlocked,
)
from voicelink.h3.session.dialect import SERVER_SETTINGS, Dialect, terms
from voicelink.h3.session.flow_control import Limits
from voicelink.h3.webtransport import SessionClosed, SessionDraining, SessionRequested, StreamData, StreamReset
from voicelink.quic.events import StreamReset as QuicStreamReset

SCRIPTS = {
    "chromium": CHROMIUM,
    "firefox": FIREFOX,
    "chromium-07": CHROMIUM_07,
    "safari": SAFARI,
    "safari-14": SAFARI_14,
    "webtransport-go": WEBTRANSPORT_GO,
    "pywebtransport": PYWEBTRANSPORT,
}
DRAFT_02_ONLY = {ENABLE_WEBTRANSPORT: 1}


@pytest.fixture(params=SCRIPTS)
def script(request: pytest.FixtureRequest) -> Script:
    return SCRIPTS[request.param]


def test_every_dialect_carries_streams_both_ways_and_a_close(script: Script) -> None:
    peer = Peer(script)
    session_id = peer.open()
    assert peer.status == 200
    server = peer.ends.server
    uplink = peer.send(b"audio")
    control = peer.send(b"start", is_unidirectional=False)
    peer.turn()
    assert [(each.stream_id, each.data) for each in of(StreamData, peer.ends.from_client)] == [
        (uplink, b"audio"),
        (control, b"start"),
    ]
    downlink = server.open_stream(session_id, is_unidirectional=True)
    server.send(downlink, b"speech")
    server.send(control, b"ready")
    assert server.send_datagram(session_id, b"report")
    peer.turn()
    assert (peer.streams[downlink], peer.streams[control], peer.datagrams) == (b"speech", b"ready", [b"report"])
    server.reset(downlink, 11)
    server.drain_session(session_id)
    peer.turn()
    assert peer.resets[downlink] == 11
    assert DrainSession() in peer.capsules
    peer.tell(DrainSession())
    peer.tell(CloseSession(13, "over there"), end_stream=True)
    peer.turn()
    assert of(SessionDraining, peer.ends.from_client) == [SessionDraining(session_id)]
    assert of(SessionClosed, peer.ends.from_client) == [SessionClosed(session_id, 13, "over there")]
    assert not peer.quic.is_ended


def test_the_server_closes_a_session_of_every_dialect(script: Script) -> None:
    peer = Peer(script)
    session_id = peer.open()
    peer.ends.server.close_session(session_id, 8, "drained")
    peer.turn()
    assert peer.closed == CloseSession(8, "drained")


@pytest.mark.parametrize("name", ["chromium-07", "safari", "safari-14", "webtransport-go", "pywebtransport"])
def test_a_server_of_draft_02_alone_is_refused_by_newer_clients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: the scripts are strict enough to fail against what this server used to be."""
    monkeypatch.setattr(http3, "SERVER_SETTINGS", DRAFT_02_ONLY)
    with pytest.raises(RefusedError):
        Peer(SCRIPTS[name]).open()


@pytest.mark.parametrize("script", [WEBTRANSPORT_GO, PYWEBTRANSPORT])
def test_a_server_without_partial_resets_is_refused_by_the_newest(script: Script) -> None:
    peer = Peer(script)
    peer.quic._partial_resets.is_supported_by_peer = False
    with pytest.raises(RefusedError, match="reset_stream_at"):
        peer.open()


@pytest.mark.parametrize(
    ("settings", "protocol", "dialect"),
    [
        ({}, "webtransport", Dialect.DRAFT_02),
        ({}, "webtransport-h3", Dialect.DRAFT_15),
        ({ENABLE_WEBTRANSPORT: 1}, "webtransport", Dialect.DRAFT_02),
        ({ENABLE_WEBTRANSPORT: 1, MAX_SESSIONS_07: 1}, "webtransport", Dialect.DRAFT_07),
        ({MAX_SESSIONS_07: 1, MAX_SESSIONS_13: 1}, "webtransport", Dialect.DRAFT_13),
        ({MAX_SESSIONS_13: 0, ENABLE_WEBTRANSPORT: 1}, "webtransport", Dialect.DRAFT_02),
        ({MAX_SESSIONS_13: 1, WT_ENABLED: 1}, "webtransport-h3", Dialect.DRAFT_15),
        ({ENABLE_WEBTRANSPORT: 1, WT_ENABLED: 1}, "webtransport", Dialect.DRAFT_02),
    ],
)
def test_the_client_chooses_the_dialect(settings: Mapping[int, int], protocol: str, dialect: Dialect) -> None:
    assert terms(settings, protocol).dialect is dialect


@pytest.mark.parametrize(
    ("settings", "protocol", "limits"),
    [
        ({INITIAL_MAX_DATA: 9}, "webtransport", None),
        ({MAX_SESSIONS_07: 9, INITIAL_MAX_DATA: 9}, "webtransport", None),
        ({MAX_SESSIONS_13: 1, INITIAL_MAX_DATA: 9}, "webtransport", None),
        ({MAX_SESSIONS_13: 2, INITIAL_MAX_DATA: 9}, "webtransport", Limits(9, 0, 0)),
        ({MAX_SESSIONS_13: 2}, "webtransport", None),
        ({WT_ENABLED: 1}, "webtransport-h3", None),
        ({INITIAL_MAX_STREAMS_UNI: 3}, "webtransport-h3", Limits(0, 0, 3)),
        ({INITIAL_MAX_STREAMS_BIDI: 4}, "webtransport-h3", Limits(0, 4, 0)),
    ],
)
def test_flow_control_is_used_where_the_dialect_and_both_sides_want_it(
    settings: Mapping[int, int], protocol: str, limits: Limits | None
) -> None:
    agreed = terms(settings, protocol)
    assert agreed.limits == limits
    assert agreed.max_sessions == (1 if limits is None and agreed.dialect >= Dialect.DRAFT_13 else 4)


def test_the_server_offers_every_dialect_at_once() -> None:
    peer = Peer(CHROMIUM)
    peer.turn()
    offered = peer.http.received_settings or {}
    assert {each: offered.get(each) for each in SERVER_SETTINGS} == SERVER_SETTINGS
    assert (offered[0x8], offered[0x33]) == (1, 1)


def test_only_draft_02_is_answered_with_its_header() -> None:
    answers = {}
    for name, each in SCRIPTS.items():
        peer = Peer(each)
        peer.open()
        answers[name] = peer.answer.get("sec-webtransport-http3-draft")
    assert {name for name, answer in answers.items() if answer == "draft02"} == {"chromium", "firefox"}


def ahead_of_settings(script: Script) -> tuple[Peer, Callable[[], None]]:
    """A client whose SETTINGS are held back until the second is called."""
    peer = Peer(script)
    control = peer.quic._streams.pop(2)
    peer.quic._streams_queue.remove(control)

    def release() -> None:
        peer.quic._streams[2] = control
        peer.quic._streams_queue.append(control)
        peer.quic._steady.end()
        peer.turn()

    return peer, release


def test_a_request_that_overtakes_its_settings_waits_for_them() -> None:
    peer, release = ahead_of_settings(PYWEBTRANSPORT)
    peer.session_id = peer.request()
    peer.turn()
    assert not peer.ends.from_client
    release()
    assert [each.session_id for each in of(SessionRequested, peer.ends.from_client)] == [peer.session_id]
    assert peer.status == 200
    assert peer.ends.server._sessions[peer.session_id].terms.limits == Limits(1000, 1, 1)


def test_what_follows_a_request_that_waits_is_not_lost() -> None:
    peer, release = ahead_of_settings(CHROMIUM)
    peer.session_id = peer.request()
    peer.tell(CloseSession(13, "so soon"), end_stream=True)
    peer.turn()
    release()
    assert [type(each) for each in peer.ends.from_client] == [SessionRequested, SessionClosed]
    assert of(SessionClosed, peer.ends.from_client)[0].code == 13


def test_requests_that_wait_for_settings_are_bounded() -> None:
    peer, release = ahead_of_settings(FIREFOX)
    requests = [peer.request() for _ in range(MAX_SESSIONS + 1)]
    peer.session_id = requests[0]
    peer.turn()
    assert list(peer.resets) == requests[-1:]
    for _ in range(MAX_WAITING_PIECES + 1):
        peer.tell(DrainSession())
        peer.turn(1)
    assert list(peer.resets) == [requests[-1], requests[0]]
    release()
    assert [each.session_id for each in of(SessionRequested, peer.ends.from_client)] == requests[1:-1]


def test_a_session_too_many_is_rejected_and_the_first_goes_on() -> None:
    peer = Peer(WEBTRANSPORT_GO)
    peer.open()
    second = peer.request()
    seen: list[QuicStreamReset] = []
    for _ in range(3):
        peer.ends.exchange_with(lambda event: seen.append(event) if isinstance(event, QuicStreamReset) else None)
    assert [(each.stream_id, each.error_code) for each in seen] == [(second, ErrorCode.H3_REQUEST_REJECTED)]
    peer.send(b"audio")
    peer.turn()
    assert [each.data for each in of(StreamData, peer.ends.from_client)] == [b"audio"]


# Flow control


def test_what_exceeds_the_peers_credit_waits_for_more() -> None:
    peer = Peer(PYWEBTRANSPORT)
    session_id = peer.open()
    server = peer.ends.server
    stream = server.open_stream(session_id, is_unidirectional=True)
    server.send(stream, bytes(3000), end_stream=True)
    peer.turn()
    assert len(peer.streams[stream]) == 1000
    assert peer.capsules == [DataBlocked(1000)]
    assert not server.is_delivered(stream)
    peer.grant(MaxData(2500))
    assert len(peer.streams[stream]) == 2500
    peer.grant(MaxData(3000))
    assert len(peer.streams[stream]) == 3000
    assert server.is_delivered(stream)
    assert peer.capsules == [DataBlocked(1000), DataBlocked(2500)]


def test_streams_beyond_the_peers_credit_open_when_there_is_more() -> None:
    peer = Peer(PYWEBTRANSPORT)
    session_id = peer.open()
    server = peer.ends.server
    streams = [server.open_stream(session_id, is_unidirectional=True) for _ in range(3)]
    for stream in streams:
        server.send(stream, b"speech")
    peer.turn()
    assert list(peer.streams) == streams[:1]
    assert peer.capsules == [StreamsBlocked(1, is_unidirectional=True)]
    peer.grant(MaxStreams(3, is_unidirectional=True))
    assert peer.streams == dict.fromkeys(streams, b"speech")


def test_a_stream_reset_before_it_had_credit_never_opens() -> None:
    peer = Peer(PYWEBTRANSPORT)
    session_id = peer.open()
    server = peer.ends.server
    first, second = (server.open_stream(session_id, is_unidirectional=True) for _ in range(2))
    server.send(second, b"speech", end_stream=True)
    server.reset(second, 11)
    peer.turn()
    peer.grant(MaxStreams(9, is_unidirectional=True))
    server.send(first, b"more")
    peer.turn()
    assert peer.streams == {first: b"more"}


def test_a_lowered_limit_ends_the_session_with_a_flow_control_error() -> None:
    peer = Peer(PYWEBTRANSPORT)
    session_id = peer.open()
    peer.tell(MaxData(999))
    peer.turn()
    assert [each.reason for each in of(SessionClosed, peer.ends.from_client)] == ["MaxData lowered a limit to 999"]
    assert session_id in peer.resets
    assert not peer.quic.is_ended


def test_credit_where_there_is_no_flow_control_is_ignored() -> None:
    peer = Peer(WEBTRANSPORT_GO)
    peer.open()
    peer.tell(MaxData(0))
    peer.tell(StreamsBlocked(7, is_unidirectional=False))
    peer.turn()
    assert not of(SessionClosed, peer.ends.from_client)


# Resets


def test_a_stream_reset_at_once_still_names_its_session() -> None:
    peer = Peer(WEBTRANSPORT_GO)
    session_id = peer.open()
    server = peer.ends.server
    stream = server.open_stream(session_id, is_unidirectional=True)
    server.send(stream, bytes(5000))
    server.reset(stream, 11)
    peer.turn()
    assert (peer.resets, peer.named) == ({stream: 11}, {stream: session_id})
    assert peer.streams.get(stream, b"") == b""


def test_a_stream_that_the_client_resets_at_once_reaches_the_session() -> None:
    peer = Peer(WEBTRANSPORT_GO)
    session_id = peer.open()
    stream = peer.send(b"")
    peer.quic.reset_stream_at(stream, 0x52E4A40FA8DB + 5, 3)
    peer.turn()
    assert of(StreamReset, peer.ends.from_client) == [StreamReset(session_id, stream, 5)]
