"""The voice protocol's bytes, as PROTOCOL.md states them."""

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicelink import wire
from voicelink.wire import AudioFrame, CloseCode, Codec, LengthPrefixedReader, Malformed

PROTOCOL = (Path(__file__).parents[4] / "PROTOCOL.md").read_text()
CLIENT_MESSAGES = [
    wire.Start(),
    wire.Start(version=2, accept=(Codec.PCMU,), agent="echo", uplink="hybrid"),
    wire.Resume(
        session="5f2c", token="a1", utterance_id=4, next_utterance_id=3, position_ms=1240, turn=2, uplink="deadline"
    ),
    wire.Played(utterance_id=3, position_ms=1240, is_complete=True, timestamp=96_000),
    wire.Measured(turn=2, response_ms=912.5, uplink_age_ms=31.0, playout_ms=20.0),
    wire.Measured(turn=2, barge_in_ms=340, resume_gap_ms=1250.5, frames_replayed=61),
    wire.Dtmf(digit="#"),
    wire.Ping(id=7),
    wire.Bye(frames=412),
    wire.Text(number=0, text="two teas"),
    wire.App(number=1, data={"screen": "menu"}),
    wire.ToolResult(number=2, call_id="c0ffee", result=[1, 2.0]),
    wire.Received(number=7),
]
SERVER_MESSAGES = [
    wire.Ready(session="5f2c", worker="worker-1", codec=Codec.OPUS, next_sequence=17, token="a1", resume_window_s=60.0),
    wire.Transcript(turn=1, role="user", text="a matcha latte", is_final=False),
    wire.State(revision=2, state={"items": [{"drink": "matcha latte", "price": "5.25"}]}),
    wire.Heard(sequence=90),
    wire.Speech(utterance_id=1, turn=1),
    wire.Flush(utterance_id=1, sequence=88),
    wire.Latency(
        turn=1, utterance_id=2, sequence=80, uplink_ms=3.5, endpointing_ms=651.0, stt_ms=12, llm_ms=0.4, tts_ms=48.1
    ),
    wire.Drain(deadline_s=30.0),
    wire.Pong(id=7),
    wire.Error(code=CloseCode.MALFORMED, message="length prefix is 70000, the limit is 65536"),
    wire.Bye(frames=412, reason="finished"),
    wire.App(number=0, data={"total": "5.25"}),
    wire.ToolCall(number=1, call_id="c0ffee", name="where", arguments={"accuracy_m": 10}, timeout_s=5.5),
    wire.ToolCancel(number=2, call_id="c0ffee"),
    wire.Transfer(number=3, target="sip:desk@example.com"),
    wire.Received(number=2),
]


@pytest.mark.parametrize("message", CLIENT_MESSAGES, ids=lambda m: type(m).__name__)
def test_client_messages_survive_the_round_trip(message: wire.ClientMessage) -> None:
    assert wire.decode_client_message(wire.encode_message(message)) == message


@pytest.mark.parametrize("message", SERVER_MESSAGES, ids=lambda m: type(m).__name__)
def test_server_messages_survive_the_round_trip(message: wire.ServerMessage) -> None:
    assert wire.decode_server_message(wire.encode_message(message)) == message


def test_the_protocol_page_names_every_message_and_code() -> None:
    for message in {type(m) for m in CLIENT_MESSAGES + SERVER_MESSAGES}:
        config = message.__struct_config__
        row = re.search(rf"^\| `{config.tag}` \|(.*)$", PROTOCOL, re.MULTILINE)
        assert row is not None, config.tag
        assert all(f"`{field}`" in row[1] for field in message.__struct_encode_fields__), config.tag
    for code in CloseCode:
        assert f"| {code.value} | `{code.name}` |" in PROTOCOL
    for codec in Codec:
        assert f"`{codec.name}`" in PROTOCOL


def test_the_protocol_page_shows_true_bytes() -> None:
    ping, frame = "82 a4 74 79 70 65 a4 70 69 6e 67 a2 69 64 07", "02 07 5b c0 01 00 ff ff"
    assert ping in PROTOCOL
    assert frame in PROTOCOL
    assert wire.encode_message(wire.Ping(id=7)) == bytes.fromhex(ping)
    expected = AudioFrame(7, 7104, Codec.PCM16_16K, b"\x01\x00\xff\xff")
    assert wire.encode_audio_frame(expected) == bytes.fromhex(frame)
    assert wire.decode_audio_frame(bytes.fromhex(frame)) == expected


def test_unknown_types_and_keys_are_skipped() -> None:
    assert wire.decode_client_message(msgspec.msgpack.encode({"type": "wave", "hand": "left"})) is None
    known = msgspec.msgpack.encode({"type": "ping", "id": 1, "colour": "green"})
    assert wire.decode_client_message(known) == wire.Ping(id=1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode(["type", "ping"]),
        msgspec.msgpack.encode({"id": 1}),
        msgspec.msgpack.encode({"type": "ping"}),
        msgspec.msgpack.encode({"type": "ping", "id": -1}),
        msgspec.msgpack.encode({"type": "ping", "id": 1 << 63}),
        msgspec.msgpack.encode({"type": "played", "generation": "one", "position_ms": 1}),
        msgspec.msgpack.encode({"type": "measured", "turn": 1, "response_ms": -1.0}),
        msgspec.msgpack.encode({"type": "measured", "turn": 1, "response_ms": 3_600_001.0}),
        msgspec.msgpack.encode({"type": "measured", "turn": 1, "barge_in_ms": float("nan")}),
        msgspec.msgpack.encode({"type": "measured", "turn": 1, "resume_gap_ms": float("inf")}),
        b"\x91" * 40_000,
        msgspec.msgpack.encode({"type": "text", "number": 0, "text": ""}),
        msgspec.msgpack.encode({"type": "text", "number": 0, "text": "x" * 4_001}),
        msgspec.msgpack.encode({"type": "text", "text": "no number"}),
        msgspec.msgpack.encode({"type": "app", "number": 0, "data": "text"}),
        msgspec.msgpack.encode({"type": "app", "number": 0, "data": {1: 2}}),
        msgspec.msgpack.encode({"type": "app", "number": 0, "data": {"nan": float("nan")}}),
        msgspec.msgpack.encode({"type": "app", "number": 0, "data": {"long": "x" * wire.MAX_MESSAGE_BYTES}}),
        msgspec.msgpack.encode({"type": "tool_result", "number": 0, "call_id": "a", "result": b"bytes"}),
        msgspec.msgpack.encode({"type": "tool_result", "number": 0, "call_id": "x" * 65}),
        msgspec.msgpack.encode({"type": "tool_result", "number": 0, "call_id": "a", "error": "x" * 1_001}),
        msgspec.msgpack.encode({"type": "received"}),
    ],
)
def test_malformed_messages_are_values(body: bytes) -> None:
    assert isinstance(wire.decode_client_message(body), Malformed)


def test_whole_floats_are_integers_but_in_what_applications_send() -> None:
    body = msgspec.msgpack.encode({"type": "tool_result", "number": 3.0, "call_id": "a", "result": 2.0})
    message = wire.decode_client_message(body)
    assert isinstance(message, wire.ToolResult)
    assert (message.number, type(message.result)) == (3, float)


@given(st.binary(max_size=64))
def test_no_bytes_raise(body: bytes) -> None:
    wire.decode_client_message(body)
    wire.decode_server_message(body)
    wire.decode_audio_frame(body)
    LengthPrefixedReader(32).feed(body)


@given(st.integers(0, (1 << 62) - 1), st.binary(max_size=4))
def test_varints_survive_the_round_trip(value: int, rest: bytes) -> None:
    encoded = wire.encode_varint(value)
    assert wire.decode_varint(encoded + rest) == (value, len(encoded))
    assert all(wire.decode_varint(encoded[:cut]) is None for cut in range(len(encoded)))


@pytest.mark.parametrize("value", [-1, 1 << 62])
def test_varints_outside_their_range_are_refused(value: int) -> None:
    with pytest.raises(ValueError, match=str(value)):
        wire.encode_varint(value)


@given(
    st.integers(0, 1 << 40), st.integers(0, 1 << 50), st.sampled_from(Codec), st.binary(max_size=wire.MAX_AUDIO_BYTES)
)
def test_audio_frames_survive_the_round_trip(sequence: int, timestamp: int, codec: Codec, payload: bytes) -> None:
    frame = AudioFrame(sequence, timestamp, codec, payload)
    assert wire.decode_audio_frame(wire.encode_audio_frame(frame)) == frame


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x01\x00", b"\x01\x40", b"\x07\x00\x00", b"\x00\x00\x00"])
def test_malformed_frames_are_values(body: bytes) -> None:
    assert isinstance(wire.decode_audio_frame(body), Malformed)


def test_a_payload_over_the_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="16385"):
        wire.encode_audio_frame(AudioFrame(0, 0, Codec.OPUS, bytes(16_385)))


@given(st.lists(st.binary(max_size=200)), st.lists(st.integers(1, 60), min_size=1))
def test_the_reader_cuts_any_chunks_alike(bodies: list[bytes], chunks: list[int]) -> None:
    stream = b"".join(wire.length_prefixed(body) for body in bodies)
    reader = LengthPrefixedReader(200)
    seen: list[bytes] = []
    offset = turn = 0
    while offset < len(stream):
        size = chunks[turn % len(chunks)]
        cut = reader.feed(stream[offset : offset + size])
        assert not isinstance(cut, Malformed)
        seen += cut
        offset, turn = offset + size, turn + 1
    assert seen == bodies
    assert not reader.has_partial


def test_the_reader_refuses_a_length_before_its_body_arrives() -> None:
    fault = LengthPrefixedReader(100).feed(wire.encode_varint(101))
    assert fault == Malformed("length prefix is 101, the limit is 100")


@given(
    st.dictionaries(
        st.sampled_from(["id", "frames", "position_ms", "generation", "accept", "turn", "session"]),
        st.floats() | st.lists(st.floats() | st.lists(st.none())) | st.text(max_size=3) | st.booleans(),
    ),
    st.sampled_from(["ping", "bye", "played", "start", "resume", "measured", "heard"]),
)
def test_no_number_raises(fields: dict[str, object], kind: str) -> None:
    body = msgspec.msgpack.encode({"type": kind} | fields)
    wire.decode_client_message(body)
    wire.decode_server_message(body)
