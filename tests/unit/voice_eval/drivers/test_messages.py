"""What drivers make of their server's messages, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from voice_eval.call.record import CallRecord, TranscriptLine
from voice_eval.drivers.base import Dialling, Driver, Endpoint, load_driver
from voice_eval.drivers.pipecat import audio_frame, fields
from voice_eval.drivers.rtvi import Rtvi
from voice_eval.drivers.twilio import TwilioLine
from voice_eval.errors import EvalError
from voice_eval.network.condition import Condition
from voice_eval.network.link import TcpLink
from voice_eval.network.path import LinkPaths
from voice_eval.scenario.model import OfferedTool, Say, Scenario
from voicelink.audio.codecs.g711 import pcmu_encode


def dialling(**scenario: Any) -> Dialling:
    made = Scenario(name="s", steps=(Say(say="hi"),), **scenario)
    link = TcpLink(("127.0.0.1", 9), LinkPaths(Condition(name="clean"), "seed"))
    return Dialling(link, made, CallRecord(), lambda: 1.5, "call")


def test_a_protobuf_frame_holds_what_was_put_in() -> None:
    ((number, value),) = fields(audio_frame(b"\x01\x02" * 200, 16_000))
    assert isinstance(value, bytes)
    assert (number, dict(fields(value))) == (2, {3: b"\x01\x02" * 200, 4: 16_000, 5: 1})


@pytest.mark.parametrize("data", [b"\x12\x05\x00", b"\x80", b"\x13\x00"])
def test_a_broken_protobuf_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="protobuf"):
        list(fields(data))


def rtvi(kind: str, **data: Any) -> dict[str, Any]:
    return {"label": "rtvi-ai", "type": kind, "data": data}


def test_rtvi_messages_fill_the_record_and_tools_are_answered_once() -> None:
    call = dialling(tools=(OfferedTool(name="kitchen", result=3),))
    sent: list[Any] = []
    heard = Rtvi(call, sent.append)
    tool = rtvi("llm-function-call", function_name="kitchen", tool_call_id="1", args={"order": "taro"})
    for message in (
        rtvi("user-transcription", text="a", final=False),
        rtvi("user-transcription", text="a taro", final=True),
        tool,
        tool,
        rtvi("server-message", state={"items": 1}),
        rtvi("bot-output", text="One taro. More?"),
        rtvi("bot-output", text="One taro."),
        rtvi("unknown", text="x"),
        {"label": "other"},
        "nothing",
    ):
        heard.received(message)
    assert call.record.lines == [TranscriptLine("user", "a taro"), TranscriptLine("agent", "One taro. More?")]
    assert call.record.state == {"items": 1}
    assert [(each.name, each.arguments) for each in call.record.tools or ()] == [("kitchen", {"order": "taro"})]
    assert [(each["type"], each["data"]["result"]) for each in sent] == [("llm-function-call-result", 3)]


class Phone(TwilioLine):
    """Keeps what it would send."""

    def __init__(self) -> None:
        super().__init__(dialling(), Endpoint("wss://example.test/stream"))
        self.sent: list[dict[str, Any]] = []

    def send_message(self, message: str | bytes) -> None:
        self.sent.append(json.loads(message))


def media(byte_count: int) -> str:
    import base64

    return json.dumps({"event": "media", "media": {"payload": base64.b64encode(b"\x10" * byte_count).decode()}})


def mark(name: str) -> str:
    return json.dumps({"event": "mark", "mark": {"name": name}})


def test_twilio_marks_come_back_when_what_was_before_them_is_played() -> None:
    phone = Phone()
    for message in (media(320), mark("a"), media(320), mark("b")):
        phone.received(message)
    assert phone.sent == []
    assert len(phone.play(0.04)) == 640
    assert [each["mark"]["name"] for each in phone.sent] == ["a"]


def test_twilio_clear_drops_the_queue_and_returns_its_marks() -> None:
    phone = Phone()
    for message in (media(1_600), mark("a"), json.dumps({"event": "clear"})):
        phone.received(message)
    assert [each["mark"]["name"] for each in phone.sent] == ["a"]
    assert phone.play(0.02) == b""


def test_twilio_gets_mu_law_of_20_ms_with_numbers_and_times() -> None:
    phone = Phone()
    phone.connected()
    for _ in range(10):
        phone.send(bytes(640))
    frames = [each for each in phone.sent if each["event"] == "media"]
    assert [each["media"]["timestamp"] for each in frames[:3]] == ["0", "20", "40"]
    assert [each["sequenceNumber"] for each in frames[:2]] == ["2", "3"]
    assert len(frames) >= 8
    assert pcmu_encode(bytes(4)) == b"\xff\xff"


def test_a_message_that_is_none_of_twilios_is_refused() -> None:
    with pytest.raises(ValueError, match="Twilio knows no event 'bang'"):
        Phone().received(json.dumps({"event": "bang"}))


def test_a_driver_that_is_not_installed_names_those_that_are() -> None:
    with pytest.raises(
        EvalError, match="--driver 'carrier' is unknown: use gateway, livekit, moq, pipecat, smallwebrtc, twilio"
    ):
        load_driver("carrier")


@pytest.mark.parametrize("url", ["ftp://host", "https://", "host:1"])
def test_a_url_that_no_driver_can_use_is_named(url: str) -> None:
    driver: Driver = load_driver("pipecat")(Endpoint(url))
    with pytest.raises(EvalError, match="give https://, wss://, http:// or ws:// and a host"):
        _ = driver.address
