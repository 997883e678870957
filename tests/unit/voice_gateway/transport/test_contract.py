"""What every transport promises a session, run over each of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.voice_gateway.transport.harness import (
    Caller,
    DeliveringMemoryCaller,
    Session,
    WebSocketCaller,
    WebTransportCaller,
)
from voice_gateway.transport.base import Refusal, SessionRequest
from voicelink.wire import (
    MAX_AUDIO_BYTES,
    MAX_CONTROL_BYTES,
    VOICE_PATH,
    AudioFrame,
    CloseCode,
    Codec,
    Malformed,
    Ping,
    Pong,
    Start,
    encode_varint,
    length_prefixed,
)

MakeCaller = Callable[[Session], Caller]


def over_memory(session: Session) -> Caller:
    return DeliveringMemoryCaller(session.accept, SessionRequest(VOICE_PATH, "memory:1", "token"))


def over_webtransport(session: Session) -> Caller:
    return WebTransportCaller(session.accept, headers={"authorization": "Bearer token"})


def over_websocket(session: Session) -> Caller:
    return WebSocketCaller(session.accept, headers={"authorization": "Bearer token"})


@pytest.fixture(params=[over_memory, over_webtransport, over_websocket])
def call(request: pytest.FixtureRequest) -> MakeCaller:
    make: MakeCaller = request.param
    return make


def frame(sequence: int, payload: bytes = b"opus") -> AudioFrame:
    return AudioFrame(sequence, sequence * 960, Codec.OPUS, payload)


def opened(call: MakeCaller) -> tuple[Session, Caller]:
    session = Session()
    caller = call(session)
    caller.send(Start())
    return session, caller


def test_the_acceptor_learns_path_and_token(call: MakeCaller) -> None:
    session, caller = opened(call)
    assert [(each.path, each.access_token) for each in session.requests] == [(VOICE_PATH, "token")]
    assert caller.refusal is None


def test_a_refusal_reaches_the_caller_and_what_the_session_sends_then_goes_nowhere(call: MakeCaller) -> None:
    session = Session(refusal=Refusal(401, "no"))
    caller = call(session)
    assert session.transport is not None
    session.transport.send(Pong(id=1))
    session.transport.close(CloseCode.NORMAL, "")
    caller.send(Start())
    caller.deliver_all()
    assert caller.refusal is not None
    assert caller.refusal.status == 401
    assert (caller.messages, session.calls) == ([], [])


def test_messages_arrive_in_order_both_ways(call: MakeCaller) -> None:
    session, caller = opened(call)
    for number in range(3):
        caller.send(Ping(id=number))
    assert session.calls == [("message", Start()), *[("message", Ping(id=number)) for number in range(3)]]
    assert session.transport is not None
    for number in range(3):
        session.transport.send(Pong(id=number))
    caller.deliver_all()
    assert caller.messages == [Pong(id=number) for number in range(3)]


def test_what_the_session_sends_while_it_accepts_is_not_lost(call: MakeCaller) -> None:
    session = Session(at_once=lambda transport: transport.send(Pong(id=7)))
    caller = call(session)
    caller.send(Start())
    caller.deliver_all()
    assert caller.messages == [Pong(id=7)]


def test_uplink_frames_arrive_in_order(call: MakeCaller) -> None:
    session, caller = opened(call)
    frames = [frame(number, bytes(100 + number)) for number in range(5)]
    for each in frames:
        caller.send_audio(each)
    assert session.calls[1:] == [("audio", each) for each in frames]


def test_downlink_frames_arrive_by_utterance_and_end(call: MakeCaller) -> None:
    session, caller = opened(call)
    assert session.transport is not None
    for number in range(3):
        session.transport.send_audio(1, [frame(number)])
    session.transport.end_audio(1)
    session.transport.send_audio(2, [frame(0)])
    caller.deliver_all()
    assert caller.utterances[1].frames == [frame(number) for number in range(3)]
    assert (caller.utterances[1].is_ended, caller.utterances[2].is_ended) == (True, False)


def test_an_utterance_without_a_frame_ends_all_the_same(call: MakeCaller) -> None:
    session, caller = opened(call)
    assert session.transport is not None
    session.transport.end_audio(4)
    caller.deliver_all()
    assert caller.utterances[4].frames == []
    assert caller.utterances[4].is_ended


def test_a_reset_utterance_is_abandoned_and_its_late_frames_are_dropped(call: MakeCaller) -> None:
    session, caller = opened(call)
    assert session.transport is not None
    session.transport.send_audio(1, [frame(0)])
    caller.deliver_all()
    session.transport.reset_audio(1)
    session.transport.reset_audio(1)
    session.transport.send_audio(1, [frame(1)])
    session.transport.end_audio(1)
    session.transport.send_audio(2, [frame(0)])
    caller.deliver_all()
    assert caller.utterances[1].is_reset
    assert not caller.utterances[1].is_ended
    assert caller.utterances[1].frames == [frame(0)]
    assert caller.utterances[2].frames == [frame(0)]


def test_frames_of_an_ended_utterance_are_dropped(call: MakeCaller) -> None:
    session, caller = opened(call)
    assert session.transport is not None
    session.transport.send_audio(1, [frame(0)])
    session.transport.end_audio(1)
    session.transport.end_audio(1)
    session.transport.send_audio(1, [frame(1)])
    caller.deliver_all()
    assert caller.utterances[1].frames == [frame(0)]


def test_a_frame_too_large_is_the_sessions_mistake(call: MakeCaller) -> None:
    session, _ = opened(call)
    assert session.transport is not None
    with pytest.raises(ValueError, match="an audio payload holds at most"):
        session.transport.send_audio(1, [frame(0, bytes(MAX_AUDIO_BYTES + 1))])


def test_close_delivers_what_was_sent_before_it(call: MakeCaller) -> None:
    session, caller = opened(call)
    assert session.transport is not None
    session.transport.send(Pong(id=1))
    session.transport.close(CloseCode.DRAINING, "the worker stops")
    caller.deliver_all()
    assert caller.messages == [Pong(id=1)]
    assert caller.closed == (CloseCode.DRAINING, "the worker stops")


def test_after_close_nothing_is_sent_and_nothing_is_reported(call: MakeCaller) -> None:
    session, caller = opened(call)
    assert session.transport is not None
    session.transport.close(CloseCode.NORMAL, "")
    session.transport.send(Pong(id=1))
    session.transport.send_audio(1, [frame(0)])
    session.transport.end_audio(1)
    session.transport.reset_audio(1)
    session.transport.close(CloseCode.INTERNAL, "again")
    caller.send(Ping(id=1))
    caller.deliver_all()
    caller.hang_up("gone")
    assert (caller.messages, caller.utterances) == ([], {})
    assert caller.closed == (CloseCode.NORMAL, "")
    assert session.calls == [("message", Start())]


def test_a_session_may_close_while_it_accepts(call: MakeCaller) -> None:
    session = Session(at_once=lambda transport: transport.close(CloseCode.OVERLOADED, "full"))
    caller = call(session)
    caller.deliver_all()
    assert caller.closed == (CloseCode.OVERLOADED, "full")
    assert session.calls == []


def test_a_caller_whose_connection_ends_is_lost_once(call: MakeCaller) -> None:
    session, caller = opened(call)
    caller.hang_up("battery")
    caller.deliver_all()
    assert [name for name, _ in session.calls] == ["message", "lost"]
    assert session.calls[-1][1]
    assert session.transport is not None
    session.transport.send(Pong(id=1))
    session.transport.close(CloseCode.NORMAL, "")
    caller.deliver_all()
    assert caller.messages == []


@pytest.mark.parametrize("call", [over_memory, over_webtransport])
def test_a_new_address_is_reported(call: MakeCaller) -> None:
    session, caller = opened(call)
    caller.move("203.0.113.9:40002")
    assert session.calls[1:] == [("path", "203.0.113.9:40002")]
    caller.send(Ping(id=1))
    assert session.calls[-1] == ("message", Ping(id=1))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encode_varint(MAX_CONTROL_BYTES + 1), "65536"),
        (length_prefixed(b"\xc1"), "control message"),
        (length_prefixed(b"\x81\xa4type\xa4ping"), "control message"),
    ],
)
def test_malformed_control_is_reported_behind_what_was_sound(call: MakeCaller, data: bytes, reason: str) -> None:
    session, caller = opened(call)
    caller.send_raw_control(data)
    assert [name for name, _ in session.calls] == ["message", "malformed"]
    fault = session.calls[-1][1]
    assert isinstance(fault, Malformed)
    assert reason in fault.reason
    assert fault.code is CloseCode.MALFORMED


def test_unknown_messages_are_skipped(call: MakeCaller) -> None:
    session, caller = opened(call)
    caller.send_raw_control(length_prefixed(b"\x81\xa4type\xa6future"))
    caller.send(Ping(id=1))
    assert session.calls[1:] == [("message", Ping(id=1))]
