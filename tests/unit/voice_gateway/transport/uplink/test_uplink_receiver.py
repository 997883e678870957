"""How a client and a worker agree on the uplink, over each transport, and what datagrams do then."""

from __future__ import annotations

from msgspec.structs import replace

from tests.unit.voice_gateway.transport.harness import Session, WebSocketCaller, WebTransportCaller
from voicelink.h3.webtransport import DatagramReceived, WebTransportEvent
from voicelink.wire import (
    AudioFrame,
    CloseCode,
    Codec,
    Malformed,
    Ready,
    Resume,
    Start,
    UplinkDatagram,
    UplinkMode,
    UplinkReport,
    decode_uplink_report,
    encode_uplink_datagram,
)

READY = Ready(session="s-1", worker="w-1", codec=Codec.OPUS)


def frame(sequence: int) -> AudioFrame:
    return AudioFrame(sequence, sequence * 960, Codec.OPUS, b"opus")


class DatagramCaller(WebTransportCaller):
    """A caller that reads reports."""

    reports: list[UplinkReport]

    def offer(self, body: bytes) -> None:
        self.reports = getattr(self, "reports", [])
        handle, quic = self.layer.handle_event, self.pair.client

        def watch(event: object) -> list[WebTransportEvent]:
            answers = handle(event)  # type: ignore[arg-type]
            for each in answers:
                if isinstance(each, DatagramReceived):
                    report = decode_uplink_report(each.data)
                    assert isinstance(report, UplinkReport)
                    self.reports.append(report)
            return answers

        self.layer.handle_event = watch  # type: ignore[method-assign]
        assert self.layer.send_datagram(self.session_id, body), quic.max_datagram_bytes
        self.deliver_all()
        self.layer.handle_event = handle  # type: ignore[method-assign]

    def say(self, number: int, *sequences: int, first: int = 0) -> None:
        self.offer(encode_uplink_datagram(UplinkDatagram(number, first, tuple(frame(each) for each in sequences))))


def agreed(mode: str, next_sequence: int = 0) -> tuple[Session, DatagramCaller]:
    session = Session()
    caller = DatagramCaller(session.accept)
    caller.send(Resume(session="s-1", token="t", uplink=mode))
    begin(session, UplinkMode(mode), next_sequence)
    caller.deliver_all()
    return session, caller


def begin(session: Session, mode: UplinkMode, next_sequence: int = 0) -> None:
    """Do what a session does when its opening agreed on the mode."""
    assert session.transport is not None
    assert session.transport.datagram_uplink is not None
    session.transport.datagram_uplink.begin(mode, next_sequence)
    session.transport.send(replace(READY, next_sequence=next_sequence, uplink=mode))


def sequences(session: Session) -> list[int]:
    return [value.sequence for name, value in session.calls if name == "audio"]


def test_without_an_agreement_datagrams_are_skipped() -> None:
    session = Session()
    caller = DatagramCaller(session.accept)
    caller.send(Start(uplink="hybrid"))
    assert session.transport is not None
    session.transport.send(READY)
    caller.deliver_all()
    caller.say(0, 0)
    assert sequences(session) == []
    caller.send_audio(frame(0))
    assert sequences(session) == [0]


def test_a_websocket_takes_no_datagrams() -> None:
    session = Session()
    WebSocketCaller(session.accept)
    assert session.transport is not None
    assert session.transport.datagram_uplink is None


def test_frames_of_datagrams_and_stream_reach_the_session_in_order() -> None:
    session, caller = agreed("hybrid", next_sequence=3)
    caller.say(0, 5)
    caller.send_audio(frame(4))
    assert sequences(session) == []
    caller.say(1, 3)
    caller.say(2, 3, 6)
    assert sequences(session) == [3, 4, 5, 6]


def test_reports_come_back() -> None:
    _, caller = agreed("hybrid")
    caller.say(0, 0)
    caller.say(3, 4, 5)
    assert [(each.newest, each.received, each.next_sequence, each.runs) for each in caller.reports] == [
        (0, 1, 1, ()),
        (3, 2, 1, ((3, 2),)),
    ]


def test_frames_that_came_ahead_of_ready_are_not_awaited_again() -> None:
    session = Session()
    caller = DatagramCaller(session.accept)
    caller.send(Start(uplink="hybrid"))
    caller.send_audio(frame(0))
    caller.send_audio(frame(1))
    begin(session, UplinkMode.HYBRID)
    caller.deliver_all()
    caller.say(0, 2)
    assert sequences(session) == [0, 1, 2]


def test_datagrams_before_ready_are_skipped() -> None:
    session = Session()
    caller = DatagramCaller(session.accept)
    caller.send(Start(uplink="hybrid"))
    caller.say(0, 0)
    assert sequences(session) == []
    assert caller.closed is None


def test_what_was_given_up_is_stood_in_for() -> None:
    session, caller = agreed("deadline")
    caller.say(0, 0)
    caller.say(3, 3, first=3)
    assert sequences(session) == [0, 1, 2, 3]
    assert caller.application.uplinks.frames_given_up == 2


def test_a_malformed_datagram_is_a_breach() -> None:
    session, caller = agreed("hybrid")
    caller.offer(b"\x01\x00")
    assert [name for name, _ in session.calls if name == "malformed"] == ["malformed"]


def test_giving_up_too_much_is_a_breach_of_order() -> None:
    session, caller = agreed("deadline")
    caller.say(0, first=1 << 40)
    [breach] = [value for name, value in session.calls if name == "malformed"]
    assert isinstance(breach, Malformed)
    assert breach.code is CloseCode.WRONG_ORDER


def test_nothing_is_reported_after_the_end() -> None:
    session, caller = agreed("hybrid")
    caller.say(0, 0)
    reports = len(caller.reports)
    assert session.transport is not None
    session.transport.close(CloseCode.NORMAL, "")
    caller.say(1, 1)
    assert len(caller.reports) == reports
    assert sequences(session) == [0]
    assert caller.errors == 0
