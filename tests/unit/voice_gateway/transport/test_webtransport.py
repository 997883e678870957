"""What only the WebTransport transport does."""

from __future__ import annotations

from typing import Any

import pytest
from aioquic._buffer import Buffer

from tests.unit.voice_gateway.transport.harness import Session, WebTransportCaller
from voice_gateway.transport.base import SessionRequest
from voice_gateway.transport.read_scheduler import FRAMES_A_TURN
from voice_gateway.transport.uplink.reassembler import MAX_AHEAD
from voice_gateway.transport.webtransport import (
    DELIVERY_DEADLINE_S,
    MAX_OPEN_STREAMS,
    PEER_DRAIN_S,
    WebTransport,
)
from voicelink.h3.limits import STOPPED_SESSION_S
from voicelink.h3.webtransport import DatagramReceived, StreamData
from voicelink.wire import (
    MAX_AUDIO_BYTES,
    AudioFrame,
    Bye,
    CloseCode,
    Codec,
    Drain,
    Malformed,
    Ping,
    Ready,
    Start,
    StreamType,
    UplinkDatagram,
    UplinkMode,
    encode_audio_frame,
    encode_message,
    encode_uplink_datagram,
    encode_varint,
    length_prefixed,
)

FRAME = AudioFrame(0, 0, Codec.OPUS, b"opus")
AUDIO = encode_varint(StreamType.UPLINK_AUDIO)


def opened(path: str = "/v1/voice", headers: dict[str, str] | None = None) -> tuple[Session, WebTransportCaller]:
    session = Session()
    caller = WebTransportCaller(session.accept, path, headers)
    return session, caller


def fault(session: Session) -> Malformed:
    [breach] = [value for name, value in session.calls if name == "malformed"]
    assert isinstance(breach, Malformed)
    return breach


@pytest.mark.parametrize(
    ("path", "headers", "token"),
    [
        ("/v1/voice", {"authorization": "Bearer abc"}, "abc"),
        ("/v1/voice", {"authorization": "bearer abc"}, "abc"),
        ("/v1/voice?token=a%2Bc", {}, "a+c"),
        ("/v1/voice?token=query", {"authorization": "Bearer header"}, "header"),
        ("/v1/voice?token=query", {"authorization": "Basic eDp5"}, "query"),
        ("/v1/voice?other=1", {}, None),
    ],
)
def test_the_access_token_comes_from_the_header_or_the_query(
    path: str, headers: dict[str, str], token: str | None
) -> None:
    session, _ = opened(path, headers | {"origin": "https://app.example"})
    assert session.requests == [SessionRequest("/v1/voice", "198.51.100.7:40001", token, "https://app.example")]


@pytest.mark.parametrize("path", ["/", "/v1/voice/", "/v2/voice", "/v1/voice%00", "//[", "//[::1/v1/voice", "/?//["])
def test_another_path_is_not_found_and_nobody_is_asked(path: str) -> None:
    session, caller = opened(path)
    assert caller.refusal is not None
    assert caller.refusal.status == 404
    assert session.requests == []


def test_the_goodbye_outlasts_a_path_that_loses_it_for_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    session, caller = opened()
    caller.send(Start())
    assert session.transport is not None
    with monkeypatch.context() as patch:
        patch.setattr(caller.pair.client, "receive_datagram", lambda *datagram: None)
        session.transport.send(Bye(frames=0))
        session.transport.close(CloseCode.NORMAL, "bye")
        caller.deliver_all(5.0)
    assert not caller.messages
    caller.deliver_all(10.0)
    assert caller.messages == [Bye(frames=0)]
    assert caller.closed == (CloseCode.NORMAL, "bye")


def test_a_second_control_stream_breaks_the_order() -> None:
    session, caller = opened()
    caller.send(Start())
    second = caller.layer.open_stream(caller.session_id, is_unidirectional=False)
    caller.layer.send(second, b"\0")
    caller.deliver_all()
    assert fault(session) == Malformed("a session has one control stream, a second was opened", CloseCode.WRONG_ORDER)


def test_a_control_stream_that_is_reset_breaks_the_order() -> None:
    session, caller = opened()
    caller.send(Start())
    caller.layer.reset(caller.control, 0)
    caller.deliver_all()
    assert fault(session).code is CloseCode.WRONG_ORDER


def test_a_stream_of_an_unknown_type_is_stopped_and_the_session_goes_on() -> None:
    session, caller = opened()
    unknown = caller.layer.open_stream(caller.session_id, is_unidirectional=True)
    caller.layer.send(unknown, encode_varint(99) + b"from the future")
    caller.deliver_all()
    assert not caller.pair.client.is_receiving(unknown)
    assert caller.pair.client.is_delivered(unknown)  # reset, as the server asked to stop
    caller.send(Ping(id=1))
    assert session.calls == [("message", Ping(id=1))]


def test_any_number_of_open_extension_streams_is_skipped() -> None:
    session, caller = opened()
    # a client that goes on sending although it was asked to stop
    caller.pair.client._handle_stop_sending_frame = ignored  # type: ignore[method-assign]
    streams = [caller.layer.open_stream(caller.session_id, is_unidirectional=True) for _ in range(4 * MAX_OPEN_STREAMS)]
    for stream in streams:
        caller.layer.send(stream, encode_varint(99) + b"from the future")
    caller.deliver_all()
    for stream in streams:
        caller.layer.send(stream, AUDIO, end_stream=stream % 8 == 2)
    caller.deliver_all()
    caller.send(Ping(id=1))
    caller.send_audio(FRAME)
    assert session.calls == [("message", Ping(id=1)), ("audio", FRAME)]
    [transport] = caller.served._handler._transports.values()
    assert len(transport._skipped) == sum(stream % 8 != 2 for stream in streams)


def ignored(context: Any, frame_type: int, buf: Buffer) -> None:
    buf.pull_uint_var()
    buf.pull_uint_var()


def test_a_draining_session_is_told_by_message_and_by_capsule() -> None:
    session, caller = opened()
    caller.send(Start())
    assert session.transport is not None
    session.transport.send(Drain(deadline_s=3.0))
    caller.deliver_all()
    assert (caller.messages, caller.drains) == ([Drain(deadline_s=3.0)], 1)


def test_a_proxy_that_drains_the_session_sends_the_caller_elsewhere_once() -> None:
    session, caller = opened()
    caller.send(Start())
    for _ in range(3):
        caller.layer.drain_session(caller.session_id)
    caller.deliver_all()
    assert caller.messages == [Drain(deadline_s=PEER_DRAIN_S)]
    assert [name for name, _ in session.calls] == ["message"]


def stop_reading(caller: WebTransportCaller) -> None:
    """Send STOP_SENDING on the session's own stream, and take no notice of the reset that answers it."""
    caller.pair.client.stop_stream(caller.session_id, 0x170D7B68)
    caller.layer._peer_reset = lambda *reset: []  # type: ignore[method-assign]


@pytest.mark.parametrize(("code", "call"), [(CloseCode.TAKEN_OVER, "lost"), (CloseCode.NORMAL, "left")])
def test_a_stop_ahead_of_the_close_leaves_its_meaning(code: CloseCode, call: str) -> None:
    session, caller = opened()
    caller.send(Start())
    stop_reading(caller)
    caller.deliver_all(0.1)
    assert [name for name, _ in session.calls] == ["message"]
    caller.layer.close_session(caller.session_id, code, "over there")
    caller.deliver_all()
    assert session.calls[1:] == [(call, f"closed by the caller with code {code}: over there")]


def test_a_stopped_session_ends_after_a_second_at_most() -> None:
    session, caller = opened()
    caller.send(Start())
    stop_reading(caller)
    caller.deliver_all(STOPPED_SESSION_S - 0.2)
    assert [name for name, _ in session.calls] == ["message"]
    caller.deliver_all(0.5)
    assert [name for name, _ in session.calls] == ["message", "left"]


def test_a_session_closed_in_the_packet_that_asks_for_it_is_no_defect() -> None:
    session, caller = opened("/elsewhere")
    session_id = caller.layer.connect("gateway.example", "/v1/voice")
    caller.layer._sessions[session_id].is_open = True
    caller.layer.close_session(session_id, 3, "changed my mind")
    caller.deliver_all()
    assert [name for name, _ in session.calls] == ["left"]
    assert not caller.errors


def test_a_stream_type_cut_into_bytes_is_put_together() -> None:
    session, caller = opened()
    stream = caller.layer.open_stream(caller.session_id, is_unidirectional=True)
    for byte in b"\x40\x01" + length_prefixed(encode_audio_frame(FRAME)):
        caller.layer.send(stream, bytes((byte,)))
        caller.deliver_all(0.06)
    assert session.calls == [("audio", FRAME)]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (AUDIO + encode_varint(MAX_AUDIO_BYTES + 100), "length prefix is 16484, the limit is 16401"),
        (AUDIO + length_prefixed(b"\x63\0\0"), "unknown codec 99"),
        (AUDIO + length_prefixed(b"\x01"), "header cut short at 1 bytes"),
        (AUDIO + encode_varint(50) + b"half", "a stream ended within a length-prefixed body"),
        (b"\x40", "a stream ended within its type"),
    ],
)
def test_malformed_audio_is_reported(raw: bytes, reason: str) -> None:
    session, caller = opened()
    stream = caller.layer.open_stream(caller.session_id, is_unidirectional=True)
    caller.layer.send(stream, raw, end_stream=True)
    caller.deliver_all()
    assert reason in fault(session).reason


def test_frames_before_a_malformed_one_reach_the_session() -> None:
    session, caller = opened()
    caller.layer.send(caller.uplink, length_prefixed(encode_audio_frame(FRAME)) + length_prefixed(b""))
    caller.deliver_all()
    assert [name for name, _ in session.calls] == ["audio", "malformed"]


def test_open_streams_are_limited() -> None:
    session, caller = opened()
    for _ in range(MAX_OPEN_STREAMS):
        stream = caller.layer.open_stream(caller.session_id, is_unidirectional=True)
        caller.layer.send(stream, AUDIO)
    caller.deliver_all()
    assert fault(session) == Malformed(f"more than {MAX_OPEN_STREAMS} streams are open", CloseCode.WRONG_ORDER)


def test_the_server_closes_quic_itself_after_the_callers_silent_close() -> None:
    session, caller = opened()
    caller.send(Start())
    caller.layer.close_session(caller.session_id, 3, "page closed")
    caller.deliver_all()
    assert session.calls[-1] == ("left", "closed by the caller with code 3: page closed")
    caller.deliver_all(5.0)
    assert caller.is_gone
    assert not caller.errors


def test_a_connection_on_which_no_session_is_opened_is_closed() -> None:
    _, caller = opened("/elsewhere")
    assert not caller.is_gone
    caller.deliver_all(15.0)
    assert caller.is_gone


def test_a_close_that_nobody_acknowledges_ends_all_the_same() -> None:
    session, caller = opened()
    caller.send(Start())
    assert session.transport is not None
    session.transport.close(CloseCode.IDLE, "no one there")
    caller.address = ("203.0.113.1", 1)  # nothing arrives any more
    caller.loop.run_until(caller.loop.now + 2 * DELIVERY_DEADLINE_S - 1.0)
    assert not caller.pair.server.is_ended
    caller.loop.run_until(caller.loop.now + 2.0)
    assert caller.pair.server.is_ended


def test_a_defect_in_the_session_costs_one_connection(capsys: pytest.CaptureFixture[str]) -> None:
    session, caller = opened()

    def broken(*args: object) -> None:
        raise ZeroDivisionError

    session.message_received = broken  # type: ignore[assignment,method-assign]  # for all arguments
    caller.send(Start())
    assert caller.errors == 1
    assert caller.pair.client.is_ended
    assert session.calls == [("lost", "internal error")]
    capsys.readouterr()


class MeteredSession(Session):
    """Counts what arrives, as `voice_gateway.session.runtime.connection.client_connection.ClientConnection` does."""

    byte_count = 0

    def bytes_received(self, count: int) -> None:
        self.byte_count += count


def test_the_bytes_of_datagrams_count_as_those_of_streams_do() -> None:
    session = MeteredSession()
    caller = WebTransportCaller(session.accept)
    before = session.byte_count
    assert caller.layer.send_datagram(caller.session_id, bytes(300))
    caller.deliver_all()
    assert session.byte_count == before + 300


def test_datagrams_of_no_session_leave_nothing_behind() -> None:
    session = MeteredSession()
    caller = WebTransportCaller(session.accept)
    before = session.byte_count
    for number in range(1, 40):
        assert caller.layer.send_datagram(caller.session_id + 4 * number, bytes(300))
        caller.deliver_all()
    assert session.byte_count == before
    assert not caller.pair.server._events


class TestTurns:
    """What one caller sends at once is taken in turns of the loop: others have theirs between them."""

    def frames(self, session: Session) -> list[int]:
        return [call.sequence for name, call in session.calls if name == "audio"]

    def event(self, caller: WebTransportCaller, stream_id: int, data: bytes, *, is_ended: bool = False) -> WebTransport:
        """What a stream brings once a gap at its beginning is filled: all at once."""
        [transport] = caller.served._handler._transports.values()
        transport.received(StreamData(caller.session_id, stream_id, data, is_ended, stream_id == caller.uplink))
        return transport

    def many(self, count: int) -> bytes:
        frames = (AudioFrame(each, each * 960, Codec.OPUS, b"\x08") for each in range(count))
        return b"".join(length_prefixed(encode_audio_frame(frame)) for frame in frames)

    def test_frames_of_a_stream_are_taken_256_in_a_turn_and_all_in_order(self) -> None:
        session, caller = opened()
        self.event(caller, caller.uplink, self.many(3 * FRAMES_A_TURN + 5), is_ended=True)
        assert self.frames(session) == list(range(FRAMES_A_TURN))
        caller.deliver_all()
        assert self.frames(session) == list(range(3 * FRAMES_A_TURN + 5))

    def test_what_follows_comes_behind_what_waits(self) -> None:
        session, caller = opened()
        data = self.many(2 * FRAMES_A_TURN + 9)
        self.event(caller, caller.uplink, data[:-3])
        self.event(caller, caller.uplink, data[-3:])
        caller.deliver_all()
        assert self.frames(session) == list(range(2 * FRAMES_A_TURN + 9))
        assert not [name for name, _ in session.calls if name == "malformed"]

    def test_a_stream_that_ends_within_a_frame_is_malformed_once_it_is_read(self) -> None:
        session, caller = opened()
        self.event(caller, caller.uplink, self.many(FRAMES_A_TURN + 9)[:-1], is_ended=True)
        assert self.frames(session) == list(range(FRAMES_A_TURN))
        caller.deliver_all()
        assert self.frames(session) == list(range(FRAMES_A_TURN + 8))
        assert "ended within" in fault(session).reason

    def test_control_messages_are_taken_256_in_a_turn(self) -> None:
        session, caller = opened()
        caller.send(Start())
        pings = b"".join(length_prefixed(encode_message(Ping(id=each))) for each in range(2 * FRAMES_A_TURN + 5))
        self.event(caller, caller.control, pings)
        assert len(session.calls) == FRAMES_A_TURN
        caller.deliver_all()
        assert [each.id for _, each in session.calls[1:]] == list(range(2 * FRAMES_A_TURN + 5))

    def test_3000_replacement_frames_are_taken_256_in_a_turn(self) -> None:
        session, caller = opened()
        caller.send(Start(uplink="deadline"))
        assert session.transport is not None
        assert session.transport.datagram_uplink is not None
        session.transport.datagram_uplink.begin(UplinkMode.DEADLINE, 0)
        session.transport.send(Ready(session="s", worker="w", codec=Codec.OPUS))
        caller.deliver_all()
        body = encode_uplink_datagram(UplinkDatagram(0, MAX_AHEAD, ()))
        [transport] = caller.served._handler._transports.values()
        transport.received(DatagramReceived(caller.session_id, body))
        assert len(self.frames(session)) <= FRAMES_A_TURN
        caller.deliver_all()
        assert self.frames(session) == list(range(MAX_AHEAD))

    def test_nothing_is_read_after_the_end(self) -> None:
        session, caller = opened()
        transport = self.event(caller, caller.uplink, self.many(3 * FRAMES_A_TURN))
        transport.close(CloseCode.OVERLOADED, "too much")
        caller.deliver_all()
        assert self.frames(session) == list(range(FRAMES_A_TURN))

    def test_streams_together_are_read_256_frames_in_a_turn(self) -> None:
        session, caller = opened()
        second = caller.layer.open_stream(caller.session_id, is_unidirectional=True)
        caller.deliver_all()
        transport = self.event(caller, caller.uplink, self.many(200))
        transport.received(StreamData(caller.session_id, second, AUDIO + self.many(200), False, True))
        assert len(self.frames(session)) == FRAMES_A_TURN
        caller.deliver_all()
        assert len(self.frames(session)) == 400

    def test_audio_stays_in_its_stream_while_the_session_is_behind_and_flow_control_holds_it_back(self) -> None:
        session, caller = opened()
        session.is_behind = True
        quic, data = caller.served.quic, self.many(300)
        self.event(caller, caller.uplink, data)
        assert self.frames(session) == []
        assert quic.unread_bytes == len(data)
        session.is_behind = False
        caller.deliver_all()
        assert self.frames(session) == list(range(300))
        assert quic.unread_bytes == 0

    def test_what_is_never_read_gives_its_flow_control_back(self) -> None:
        session, caller = opened()
        session.is_behind = True
        transport = self.event(caller, caller.uplink, self.many(300))
        transport.close(CloseCode.OVERLOADED, "too much")
        assert caller.served.quic.unread_bytes == 0
