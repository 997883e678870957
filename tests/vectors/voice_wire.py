"""The voice protocol's bytes for clients in other languages: writes `voice_wire.json`.

Run `python -m tests.vectors.voice_wire` after a change of `voicelink.wire`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from voicelink import wire
from voicelink.wire import AudioFrame, CloseCode, Codec

PATH = Path(__file__).with_suffix(".json")

CLIENT_MESSAGES = (
    wire.Start(),
    wire.Start(accept=(Codec.PCM16_24K,), agent="echo", uplink=wire.UplinkMode.HYBRID),
    wire.Resume(session="5f2c", token="a1"),
    wire.Resume(
        session="5f2c", token="a1", accept=(1,), utterance_id=4, next_utterance_id=3, position_ms=70_000, turn=2
    ),
    wire.Played(utterance_id=3, position_ms=1240, is_complete=True),
    wire.Played(utterance_id=0, position_ms=0),
    wire.Played(utterance_id=2, position_ms=207, timestamp=4_294_967_296),
    wire.Measured(turn=2, response_ms=780, uplink_age_ms=61, frames_replayed=9),
    wire.Dtmf(digit="#"),
    wire.Ping(id=7),
    wire.Ping(id=2**40 + 3),
    wire.Bye(frames=412),
    wire.Bye(frames=70_000, reason="größer"),
    wire.Start(next_message=0),
    wire.Resume(session="5f2c", token="a1", next_message=3),
    wire.Text(number=0, text="zwei Tees, 🍵"),
    wire.App(number=1, data={"screen": "menu", "items": [1, 2.5, None, True, {"a": "b"}]}),
    wire.ToolResult(number=2, call_id="c0ffee", result={"lat": 52.5, "lon": 13}),
    wire.ToolResult(number=300, call_id="c0ffee", error="no tool is named where"),
    wire.Received(number=7),
)
SERVER_MESSAGES = (
    wire.Ready(session="5f2c", worker="worker-1", codec=Codec.OPUS),
    wire.Ready(session="5f2c", worker="w", codec=Codec.OPUS, next_sequence=17, token="a1", resume_window_s=60.5),
    wire.Transcript(turn=1, role="user", text="a crème brûlée \U0001f9cb", is_final=False),
    wire.Transcript(turn=2, role="agent", text="One tea.", is_final=True, utterance_id=5, replaces=(3, 4)),
    wire.State(revision=2, state={"items": [{"drink": "matcha latte", "price": "5.25", "ice": None}], "total": 5.25}),
    wire.Heard(sequence=90),
    wire.Speech(utterance_id=1, turn=1),
    wire.Speech(utterance_id=2, turn=1, is_again=True),
    wire.Flush(utterance_id=1),
    wire.Flush(utterance_id=1, sequence=77),
    wire.Latency(turn=1, utterance_id=1, sequence=70, endpointing_ms=650, stt_ms=3, tts_ms=40),
    wire.Drain(deadline_s=30.0),
    wire.Pong(id=300),
    wire.Error(code=CloseCode.MALFORMED, message="length prefix is 70000, the limit is 65536"),
    wire.Bye(frames=412, reason="finished"),
    wire.Ready(session="5f2c", worker="w", codec=Codec.OPUS, next_message=2),
    wire.App(number=0, data={"total": "5.25"}),
    wire.ToolCall(number=1, call_id="c0ffee", name="where", arguments={"accuracy_m": 10}, timeout_s=5.5),
    wire.ToolCall(number=2, call_id="beef", name="now", arguments={}),
    wire.ToolCancel(number=3, call_id="c0ffee"),
    wire.Transfer(number=4, target="sip:desk@example.com"),
    wire.Received(number=70_000),
)


def _nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


SKIPPED = ({"type": "weather", "is_sunny": True},)
MALFORMED = (
    b"",
    b"\xc1",
    b"\x01",
    b"\x80",
    msgspec.msgpack.encode({"type": 7}),
    msgspec.msgpack.encode({"type": "heard"}),
    msgspec.msgpack.encode({"type": "heard", "sequence": -1}),
    msgspec.msgpack.encode({"type": "heard", "sequence": "1"}),
    msgspec.msgpack.encode({"type": "transcript", "turn": 1, "role": "cat", "text": "", "is_final": True}),
    wire.encode_message(wire.Heard(sequence=90))[:-1],
    msgspec.msgpack.encode({"type": "app", "number": 0}),
    msgspec.msgpack.encode({"type": "app", "number": 0, "data": [1]}),
    msgspec.msgpack.encode({"type": "app", "number": 0, "data": {"blob": b"1"}}),
    msgspec.msgpack.encode({"type": "app", "number": 0, "data": {"deep": _nested(33)}}),
    msgspec.msgpack.encode({"type": "app", "number": 0, "data": {"long": "x" * wire.MAX_MESSAGE_BYTES}}),
    msgspec.msgpack.encode({"type": "tool_call", "number": 0, "name": "where"}),
    msgspec.msgpack.encode({"type": "tool_call", "number": 0, "call_id": "", "name": "where"}),
    msgspec.msgpack.encode({"type": "tool_call", "number": 0, "call_id": "a", "name": "where", "timeout_s": 0}),
    msgspec.msgpack.encode({"type": "transfer", "number": 0, "target": ""}),
    msgspec.msgpack.encode({"type": "received", "number": -1}),
)
FRAMES = (
    AudioFrame(7, 7_104, Codec.PCM16_16K, b"\x01\x00\xff\xff"),
    AudioFrame(0, 0, Codec.OPUS, b""),
    AudioFrame(16_384, 2**32 + 5, Codec.OPUS, bytes(range(20))),
)
VARINTS = (0, 63, 64, 16_383, 16_384, 2**30 - 1, 2**30, 2**32, 2**53 - 1)


def vectors() -> dict[str, Any]:
    """All of them; bytes are in hexadecimal."""
    return {
        "varints": [{"value": value, "bytes": wire.encode_varint(value).hex()} for value in VARINTS],
        "frames": [
            {
                "sequence": frame.sequence,
                "timestamp": frame.timestamp,
                "codec": frame.codec,
                "payload": frame.payload.hex(),
                "bytes": wire.encode_audio_frame(frame).hex(),
                "on_stream": wire.length_prefixed(wire.encode_audio_frame(frame)).hex(),
            }
            for frame in FRAMES
        ],
        "client_messages": [_message(message) for message in CLIENT_MESSAGES],
        "server_messages": [_message(message) for message in SERVER_MESSAGES],
        "skipped": [msgspec.msgpack.encode(message).hex() for message in SKIPPED],
        "malformed": [data.hex() for data in MALFORMED],
        "close_codes": {code.name: code.value for code in CloseCode},
        "codecs": {codec.name: codec.value for codec in Codec},
    }


def text() -> str:
    """What the file holds."""
    return json.dumps(vectors(), indent=1, ensure_ascii=True) + "\n"


def _message(message: wire.ClientMessage | wire.ServerMessage) -> dict[str, Any]:
    keys = zip(message.__struct_encode_fields__, msgspec.structs.astuple(message), strict=True)
    whole = {"type": message.__struct_config__.tag} | dict(keys)
    return {"message": json.loads(msgspec.json.encode(whole)), "bytes": wire.encode_message(message).hex()}


if __name__ == "__main__":
    PATH.write_text(text())
