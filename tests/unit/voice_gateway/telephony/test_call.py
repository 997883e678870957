"""What a session is promised of any transport, and what only a telephone call does."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest

from tests.unit.voice_gateway.transport.harness import Session
from voice_gateway.telephony.call import (
    MAX_MESSAGES_BEFORE_START,
    MESSAGES_AT_ONCE,
    TelephoneCall,
    TelephonyCounters,
    Vouch,
)
from voice_gateway.telephony.vendors.twilio import TwilioVendor
from voice_gateway.transport.base import Refusal
from voice_gateway.web.websocket import Ending
from voicelink.wire import (
    MAX_AUDIO_BYTES,
    VOICE_PATH,
    AudioFrame,
    Bye,
    CloseCode,
    Codec,
    Dtmf,
    Played,
    Pong,
    Ready,
    Start,
    Transcript,
    Transfer,
)

SPEECH = bytes(range(160))
READY = Ready(session="s-1", worker="worker-1", codec=Codec.PCMU)
FORMAT = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}


class FakeSocket:
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None

    def send_text(self, text: bytes) -> None:
        assert self.closed is None
        self.sent.append(json.loads(text))

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def of(self, event: str) -> list[dict[str, Any]]:
        return [message for message in self.sent if message["event"] == event]


class Line:
    """Twilio's end of one stream, and the session behind it."""

    def __init__(self, session: Session | None = None, *, is_signed: bool = False, vouch: Vouch | None = None) -> None:
        self.session = session or Session()
        self.socket = FakeSocket()
        self.counters = TelephonyCounters()
        accept = self.session.accept
        self.call = TelephoneCall(
            TwilioVendor(),
            self.socket,  # type: ignore[arg-type]
            VOICE_PATH,
            "192.0.2.1:5000",
            accept,
            self.counters,
            is_signed=is_signed,
            vouch=vouch,
        )
        self.sequence = 0
        self.chunk = 0

    def event(self, event: str, stream: str = "MZ1", **facts: Any) -> None:
        self.sequence += 1
        message = {"event": event, "sequenceNumber": str(self.sequence), "streamSid": stream} | facts
        self.call.text_received(json.dumps(message).encode())

    def start(self, **changes: Any) -> Line:
        facts = {"streamSid": "MZ1", "callSid": "CA1", "accountSid": "AC1", "tracks": ["inbound"]}
        facts |= {"mediaFormat": FORMAT, "customParameters": {}} | changes
        self.event("start", start=facts)
        self.call.send(READY)
        return self

    def media(self, payload: bytes = SPEECH, **changes: Any) -> None:
        self.chunk += 1
        facts = {"track": "inbound", "chunk": str(self.chunk), "timestamp": str(self.chunk * 20)}
        self.event("media", media=facts | {"payload": b64encode(payload).decode()} | changes)

    def mark(self, name: str) -> None:
        self.event("mark", mark={"name": name})

    @property
    def received(self) -> list[Any]:
        """What the session received behind `start`."""
        assert self.session.calls[0][0] == "message"
        return [value for _, value in self.session.calls[1:]]


def frame(sequence: int) -> AudioFrame:
    return AudioFrame(sequence, sequence * 960, Codec.PCMU, SPEECH)


def said(line: Line, utterance_id: int, frames: int) -> None:
    for number in range(frames):
        line.call.send_audio(utterance_id, [frame(number)])
    line.call.end_audio(utterance_id)


async def test_start_asks_for_a_session_and_starts_it_in_g711() -> None:
    line = Line().start(customParameters={"token": "sesame", "agent": "echo", "other": "1"})
    (request,) = line.session.requests
    assert (request.path, request.peer) == (VOICE_PATH, "192.0.2.1:5000")
    assert (request.access_token, request.key) == ("sesame", "CA1")
    assert line.session.calls == [("message", Start(accept=(Codec.PCMU,), agent="echo"))]


@pytest.mark.parametrize(("status", "code"), [(401, 1008), (404, 1008), (503, 1013)])
async def test_a_refusal_closes_the_stream(status: int, code: int) -> None:
    line = Line(Session(refusal=Refusal(status, "no"))).start()
    assert line.socket.closed == (code, "no")
    line.media()
    line.call.closed("gone", Ending.BROKEN)
    assert line.session.calls == []


async def test_a_session_may_close_while_it_accepts() -> None:
    line = Line(Session(at_once=lambda transport: transport.close(CloseCode.OVERLOADED, "full"))).start()
    assert line.socket.closed == (1013, "full")
    assert line.session.calls == []


async def test_media_arrive_untouched_in_order() -> None:
    line = Line().start()
    for _ in range(3):
        line.media()
    assert line.received == [frame(0), frame(1), frame(2)]


async def test_a_payload_of_more_than_120_ms_becomes_several_frames() -> None:
    """PROTOCOL section 3 allows 120 ms; a longer payload must not end the call."""
    line = Line().start()
    line.media(bytes(960 * 2 + 160))
    line.media()
    frames = line.received
    assert [len(each.payload) for each in frames] == [960, 960, 160, 160]
    assert [each.sequence for each in frames] == [0, 1, 2, 3]
    assert [each.timestamp for each in frames] == [0, 5_760, 11_520, 12_480]


async def test_speech_goes_out_as_media_with_marks() -> None:
    line = Line().start()
    said(line, 1, 12)
    assert [b64decode(each["media"]["payload"]) for each in line.socket.of("media")] == [SPEECH] * 12
    assert [each["mark"]["name"] for each in line.socket.of("mark")] == ["1:20", "1:220", "1:240:end"]
    assert {each["streamSid"] for each in line.socket.sent} == {"MZ1"}
    assert [each["event"] for each in line.socket.sent] == ["media", "mark", *["media"] * 10, "mark", "media", "mark"]


async def test_marks_that_come_back_are_reported_as_played() -> None:
    line = Line().start()
    said(line, 1, 12)
    for name in ("1:20", "1:220", "1:240:end"):
        line.mark(name)
    assert line.received == [
        Played(utterance_id=1, position_ms=20),
        Played(utterance_id=1, position_ms=220),
        Played(utterance_id=1, position_ms=240, is_complete=True),
    ]
    assert (line.counters.marks_sent, line.counters.marks_played) == (3, 3)


async def test_barge_in_clears_once_and_returned_marks_count_as_not_played() -> None:
    line = Line().start()
    said(line, 1, 20)
    said(line, 2, 20)
    line.mark("1:20")
    line.call.reset_audio(1)
    line.call.reset_audio(2)
    line.call.send_audio(2, [frame(20)])
    for name in ("1:220", "1:400:end", "2:20", "2:220", "2:400:end"):
        line.mark(name)
    assert len(line.socket.of("clear")) == line.counters.clears == 1
    assert line.socket.sent[-1]["event"] == "clear"
    assert line.received == [Played(utterance_id=1, position_ms=20)]
    assert (line.counters.marks_played, line.counters.marks_cleared) == (1, 5)
    said(line, 3, 1)
    line.mark("3:20")
    assert line.received[-1] == Played(utterance_id=3, position_ms=20)


async def test_the_session_knows_what_was_played_before_the_frame_that_may_interrupt() -> None:
    line = Line().start()
    clock = Clock()
    line.call._loop = clock  # type: ignore[assignment]  # what a call asks of its loop here
    said(line, 1, 20)
    line.mark("1:20")
    clock.now += 0.1
    line.media()
    assert line.received[0] == Played(utterance_id=1, position_ms=20)
    played = line.received[1]
    assert isinstance(played, Played)
    assert played.position_ms == pytest.approx(120, abs=1)
    assert line.received[2] == frame(0)


class Clock:
    """A loop's clock, which stands where the test leaves it."""

    now = 100.0

    def time(self) -> float:
        return self.now


async def test_a_reset_of_what_was_played_clears_nothing() -> None:
    line = Line().start()
    said(line, 1, 1)
    line.mark("1:20")
    line.mark("1:20:end")
    line.call.reset_audio(1)
    assert line.socket.of("clear") == []


async def test_an_ended_utterance_takes_no_more() -> None:
    line = Line().start()
    said(line, 1, 1)
    said(line, 1, 1)
    assert len(line.socket.of("media")) == 1


async def test_frames_a_telephone_cannot_take_are_the_sessions_mistake() -> None:
    line = Line().start()
    with pytest.raises(ValueError, match="an audio payload holds at most"):
        line.call.send_audio(1, [AudioFrame(0, 0, Codec.PCMU, bytes(MAX_AUDIO_BYTES + 1))])
    with pytest.raises(ValueError, match="takes PCMU, got OPUS"):
        line.call.send_audio(1, [AudioFrame(0, 0, Codec.OPUS, b"opus")])


async def test_keys_are_reported() -> None:
    line = Line().start()
    line.event("dtmf", dtmf={"track": "inbound_track", "digit": "#"})
    assert line.received == [Dtmf(digit="#")]
    assert line.counters.digits == 1


async def test_stop_is_a_bye_and_the_end_of_the_socket_is_no_loss_then() -> None:
    line = Line().start()
    line.media()
    line.event("stop", stop={"accountSid": "AC1", "callSid": "CA1"})
    line.media()
    line.call.send_audio(1, [frame(0)])
    line.call.closed("closed by the caller with code 1000", Ending.CLOSED)
    assert line.received == [frame(0), Bye(frames=1, reason="the call ended")]
    assert line.counters.skipped == {"after_stop": 1}
    assert line.socket.sent == []


async def test_a_socket_that_breaks_is_a_loss_once() -> None:
    line = Line().start()
    line.call.closed("the connection broke", Ending.BROKEN)
    line.call.closed("again", Ending.BROKEN)
    line.media()
    assert line.session.calls[1:] == [("lost", "the connection broke")]


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (CloseCode.NORMAL, 1000),
        (CloseCode.DRAINING, 1001),
        (CloseCode.WRONG_ORDER, 1008),
        (CloseCode.AGENT_FAILED, 1011),
        (CloseCode.OVERLOADED, 1013),
    ],
)
async def test_close_ends_the_stream_and_nothing_follows(code: CloseCode, meaning: int) -> None:
    line = Line().start()
    line.call.close(code, "why")
    assert line.socket.closed == (meaning, "why")
    line.call.close(CloseCode.INTERNAL, "again")
    line.call.send(Pong(id=1))
    said(line, 1, 1)
    line.call.reset_audio(1)
    line.media()
    line.call.closed("gone", Ending.BROKEN)
    assert line.socket.closed == (meaning, "why")
    assert line.socket.sent == []
    assert line.received == []


async def test_messages_have_no_place_on_a_telephone_but_the_session_is_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = Line().start()
    line.call.send(Ready(session="s-1", worker="w", codec=Codec.PCMU))
    line.call.send(Transcript(turn=1, role="user", text="a matcha latte", is_final=True))
    assert line.socket.sent == []
    logged = capsys.readouterr().out
    assert "call=CA1" in logged
    assert "session=s-1" in logged
    assert "matcha" not in logged


async def test_another_format_is_refused() -> None:
    line = Line().start(mediaFormat=FORMAT | {"sampleRate": 16_000})
    assert line.socket.closed is not None
    assert line.socket.closed[0] == 1003
    assert line.session.requests == []


async def test_a_stream_without_start_is_closed() -> None:
    line = Line()
    line.event("connected", protocol="Call")
    line.call._expect_start()
    assert line.socket.closed == (1008, "no start arrived")
    started = Line().start()
    assert started.call._start_timer.cancelled()


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("malformed", b"{"),
        ("malformed", b'{"event":"media","streamSid":"MZ1"}'),
        ("unknown_event", b'{"event":"future","streamSid":"MZ1"}'),
        ("bad_payload", b'{"event":"media","streamSid":"MZ1","media":{"timestamp":"0","payload":"AAA"}}'),
        ("wrong_stream", b'{"event":"media","streamSid":"MZ2","media":{"timestamp":"0","payload":"AAAA"}}'),
        ("wrong_stream", b'{"event":"stop","streamSid":"MZ2"}'),
        (
            "other_track",
            b'{"event":"media","streamSid":"MZ1","media":{"track":"outbound","timestamp":"0","payload":"AAAA"}}',
        ),
    ],
)
async def test_what_cannot_be_used_is_skipped_counted_and_the_call_goes_on(
    fault: str, text: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    line = Line().start()
    line.media()
    line.call.text_received(text)
    line.call.text_received(text)
    line.media()
    assert line.received == [frame(0), frame(1)]
    assert line.counters.skipped == {fault: 2}
    assert capsys.readouterr().out.count("twilio_message_skipped") == 1


async def test_audio_before_start_a_second_start_and_binary_are_skipped() -> None:
    line = Line()
    line.media()
    line.start().start()
    line.call.binary_received(SPEECH)
    line.media()
    assert len(line.session.requests) == 1
    assert line.received == [frame(0)]
    assert line.counters.skipped == {"before_start": 1, "second_start": 1, "binary": 1}


async def test_messages_that_twilio_dropped_are_counted() -> None:
    line = Line().start()
    line.media()
    line.sequence += 7
    line.media()
    assert line.counters.missing_messages == 7
    assert [each.sequence for each in line.received] == [0, 1]


async def test_a_message_too_large_is_counted() -> None:
    line = Line().start()
    line.call.closed("closed with code 1009: too big", Ending.TOO_LARGE)
    assert line.counters.skipped == {"too_large": 1}
    assert line.session.calls[-1][0] == "lost"


async def test_messages_before_start_beyond_8_close_with_1008() -> None:
    line = Line()
    line.event("connected")
    for _ in range(MAX_MESSAGES_BEFORE_START - 1):
        line.call.text_received(b"{}")
    assert line.socket.closed is None
    line.call.text_received(b"{}")
    assert line.socket.closed == (1008, "too many messages before start")
    line.start()
    assert line.session.requests == []
    assert line.counters.limited == 1


@pytest.mark.parametrize("kind", ["skipped", "binary", "marks"])
async def test_messages_beyond_the_rate_close_with_1008_and_the_call_may_come_back(kind: str) -> None:
    line = Line().start()
    while line.socket.closed is None and line.counters.messages < 2 * MESSAGES_AT_ONCE:
        match kind:
            case "skipped":
                line.call.text_received(b"{}")
            case "binary":
                line.call.binary_received(b"")
            case "marks":
                line.mark("unknown")
    assert line.socket.closed == (1008, "too many messages")
    assert MESSAGES_AT_ONCE <= line.counters.messages < 2 * MESSAGES_AT_ONCE
    assert line.session.calls[-1] == ("lost", "too many messages")


async def test_forty_seconds_of_audio_may_arrive_at_once() -> None:
    line = Line().start()
    for _ in range(int(MESSAGES_AT_ONCE) - 10):
        line.media()
    assert line.socket.closed is None
    assert len(line.received) == MESSAGES_AT_ONCE - 10


@pytest.mark.parametrize("target", [None, "sip:desk@example.com"])
async def test_a_call_that_the_agent_ends_is_reported_with_the_target_of_a_transfer(target: str | None) -> None:
    ended: list[tuple[str, str | None]] = []
    line = Line().start()
    line.call.on_ended = lambda call_id, target: ended.append((call_id, target))
    if target is not None:
        line.call.send(Transfer(number=0, target=target))
    line.call.send(Bye(frames=0, reason="the agent hung up"))
    line.call.close(CloseCode.NORMAL, "the agent hung up")
    assert ended == [("CA1", target)]
    assert line.socket.closed == (1000, "the agent hung up")


async def test_a_call_that_the_caller_ends_is_not_reported() -> None:
    ended: list[tuple[str, str | None]] = []
    line = Line().start()
    line.call.on_ended = lambda call_id, target: ended.append((call_id, target))
    line.event("stop")
    line.call.send(Bye(frames=0))
    line.call.close(CloseCode.NORMAL, "bye")
    assert ended == []
