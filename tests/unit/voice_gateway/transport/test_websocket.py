"""What only the voice protocol over one WebSocket does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.voice_gateway.transport.harness import Session, WebSocketCaller
from voice_gateway.transport.base import SessionRequest
from voice_gateway.transport.websocket import SKIPPED_PER_S, Kind, VoiceOverWebSocket
from voice_gateway.web.server import WebRequest
from voicelink.wire import AudioFrame, CloseCode, Codec, Malformed, Ping, Start, encode_audio_frame, encode_message

PROTOCOL = (Path(__file__).parents[4] / "PROTOCOL.md").read_text()


def opened() -> tuple[Session, WebSocketCaller]:
    session = Session()
    caller = WebSocketCaller(session.accept)
    caller.send(Start())
    return session, caller


def fault(session: Session) -> Malformed:
    [breach] = [value for name, value in session.calls if name == "malformed"]
    assert isinstance(breach, Malformed)
    return breach


@pytest.mark.parametrize(
    ("path", "headers", "token"),
    [
        ("/v1/voice", {"Authorization": "Bearer abc"}, "abc"),
        ("/v1/voice?token=a%2Bc", {}, "a+c"),
        ("/v1/voice", {}, None),
    ],
)
def test_the_request_names_path_token_and_origin(path: str, headers: dict[str, str], token: str | None) -> None:
    session = Session()
    WebSocketCaller(session.accept, path, headers | {"Origin": "https://app.example"})
    assert session.requests == [SessionRequest("/v1/voice", "198.51.100.7:40001", token, "https://app.example")]


def test_messages_of_an_unknown_kind_are_skipped() -> None:
    session, caller = opened()
    caller.send_kind(99, b"from the future")
    caller.send_kind(Kind.DOWNLINK_AUDIO, b"")
    caller.send(Ping(id=1))
    assert session.calls[1:] == [("message", Ping(id=1))]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "an empty one arrived"),
        (b"\x00", "control message"),
        (b"\x01", "header cut short at 0 bytes"),
        (b"\x01\x63\0\0", "unknown codec 99"),
    ],
)
def test_malformed_messages_are_reported_once(data: bytes, reason: str) -> None:
    session, caller = opened()
    caller.client.send_binary(data)
    caller.client.send_binary(data)
    caller.deliver_all()
    assert [name for name, _ in session.calls].count("malformed") == 2, "the handler here does not close"
    assert reason in session.calls[-1][1].reason


def test_a_text_message_is_malformed() -> None:
    session, caller = opened()
    caller.client.send_text(b"{}")
    caller.deliver_all()
    assert "text" in fault(session).reason


def test_frames_in_front_of_a_close_reach_the_session() -> None:
    session, caller = opened()
    frame = AudioFrame(0, 0, Codec.OPUS, b"opus")
    caller.client.send_binary(b"\x01" + encode_audio_frame(frame))
    caller.client.send_close(1000, "done")
    caller.deliver_all()
    assert session.calls[1:] == [("audio", frame), ("left", "closed by the caller with code 1000: done")]


def test_the_session_ends_with_its_code_in_the_private_range() -> None:
    session, caller = opened()
    assert session.transport is not None
    session.transport.close(CloseCode.DRAINING, "why")
    caller.deliver_all()
    assert caller.client.close_rcvd is not None
    assert caller.client.close_rcvd.code == 4008


def test_the_protocol_page_names_every_kind() -> None:
    for kind in Kind:
        assert f"| {kind.value} | `{kind.name}` |" in PROTOCOL
    (example,) = re.findall(r"Example: `(00 82 [0-9a-f ]+)`", PROTOCOL)
    assert bytes.fromhex(example) == bytes((Kind.CONTROL,)) + encode_message(Ping(id=7))


def test_a_caller_who_closes_has_left_for_good() -> None:
    session, caller = opened()
    caller.leave()
    assert session.calls[1:] == [("left", "closed by the caller with code 1000")]


@pytest.mark.parametrize("path", ["//[", "//[::1]/v1/voice?token=a", "/v1/voice#?"])
def test_any_target_is_split_without_an_exception(path: str) -> None:
    session = Session()
    VoiceOverWebSocket(session.accept)(WebRequest("GET", path, {}, "198.51.100.7:40001"), Silent())  # type: ignore[arg-type]
    assert session.requests[0].path == path.partition("?")[0]


class Silent:
    """A socket that nothing is sent on."""

    now = 0.0


@pytest.mark.parametrize("data", [b"\x63", b"\x00\x81\xa4type\xa6future"])
def test_too_many_messages_of_unknown_kinds_end_the_session_as_overloaded(data: bytes) -> None:
    session, caller = opened()
    for _ in range(int(SKIPPED_PER_S)):
        caller.client.send_binary(data)
    caller.deliver_all()
    assert [name for name, _ in session.calls] == ["message"]
    caller.client.send_binary(data)
    caller.deliver_all()
    assert fault(session).code is CloseCode.OVERLOADED
