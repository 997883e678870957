"""The messages between a worker and an agent host. Sans-IO.

Each WebSocket message is a kind byte and a body. The body of a control message is a MessagePack map with a `type`, or
an array of such maps that have their effect together. The events of an agent are the maps of their fields, and `type`
is the class name in snake case. Unknown types and keys are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import IntEnum
from typing import Annotated, Any, Final, get_args

import msgspec

from voice_gateway.agent.base import AgentEvent, AudioFormat, ReplyAudio
from voicelink.audio.codecs.opus_slots import EMPTY_SLOT, SLOT_BYTES, packet_of, slot_of
from voicelink.wire import Malformed, decode_varint, encode_varint

HOST_PROTOCOL_VERSION: Final = 1
HOST_PATH: Final = "/v1/agent"
MAX_MESSAGE_BYTES: Final = 8 << 20
"""The largest WebSocket message of either side."""
MAX_AUDIO_PIECE_BYTES: Final = 64_000
"""A host cuts longer audio of a reply into messages of this size."""


class HostKind(IntEnum):
    """The first byte of every message; the numbers are those of the voice protocol over a WebSocket."""

    CONTROL = 0
    UPLINK_AUDIO = 1
    DOWNLINK_AUDIO = 2


class HostMessage(msgspec.Struct, frozen=True, tag_field="type", kw_only=True):
    """What the messages that are no events share."""


class Watch(HostMessage, frozen=True, tag="watch"):
    """Worker, first message: this connection holds no call; report the host's load on it."""

    version: int = HOST_PROTOCOL_VERSION


class HostLine(msgspec.Struct, frozen=True):
    """A line of the transcript."""

    turn: int
    role: str
    text: str


class Open(HostMessage, frozen=True, tag="open"):
    """Worker, first message: this connection holds the call of `session`, begun with `state` None, else restored.

    A higher `epoch` takes the session from a lower one. `turn` counts the final transcripts so far, and no frame up to
    `through_sequence` follows.
    """

    session: str
    epoch: int
    turn: int
    transcript: tuple[HostLine, ...]
    state: Mapping[str, Any] | None
    private_state: Mapping[str, Any]
    through_sequence: int | None = None
    is_attached: bool = True
    version: int = HOST_PROTOCOL_VERSION


class AskedMessage(HostMessage, frozen=True):
    """What the host answers with `handled` and this `id`, together with the events that followed at once."""

    id: int


class AskGreet(AskedMessage, frozen=True, tag="greet"):
    """Worker: open the conversation; `is_again` after words of the caller were lost."""

    is_again: bool = False


class AskPressed(AskedMessage, frozen=True, tag="pressed"):
    """Worker: the caller pressed a key."""

    digit: str


class AskSayAgain(AskedMessage, frozen=True, tag="say_again"):
    """Worker: say `text` again, with exactly this text as the reply's."""

    text: str


class AskFinish(AskedMessage, frozen=True, tag="finish"):
    """Worker: no more audio follows."""


class AskText(AskedMessage, frozen=True, tag="text"):
    """Worker: the caller typed this; without a number an operator put it in, and nothing is to be acknowledged."""

    number: int | None
    text: str


class AskApp(AskedMessage, frozen=True, tag="app"):
    """Worker: the client's application sent this."""

    number: int
    data: Mapping[str, Any]


class AskToolResult(AskedMessage, frozen=True, tag="client_tool_result"):
    """Worker: a call of a client's tool ended."""

    call_id: str
    result: Any = None
    error: str | None = None
    number: int | None = None


class ReplyInterrupted(HostMessage, frozen=True, tag="interrupted"):
    """Worker: the current reply was cut off after `played_ms`."""

    played_ms: int


class PlaybackProgress(HostMessage, frozen=True, tag="played"):
    """Worker: of the oldest reply that is not finished, so much was played."""

    played_ms: int


class ReplyPlayed(HostMessage, frozen=True, tag="playback_finished"):
    """Worker: a reply was played, or cut off; `text` is what of it was played."""

    text: str
    played_ms: int
    is_interrupted: bool = False


class CheckpointSaved(HostMessage, frozen=True, tag="saved"):
    """Worker: the `state_changed` of this checkpoint, and all before it, cannot be lost any more."""

    checkpoint: int


class CallerAttached(HostMessage, frozen=True, tag="attached"):
    """Worker: whether the caller is connected changed."""

    is_attached: bool


class Hello(HostMessage, frozen=True, tag="hello"):
    """Host, the answer to `watch` and `open`: the agent and the audio that it wants."""

    agent: str
    input_rate_hz: int
    output_rate_hz: int
    audio_format: str
    version: int = HOST_PROTOCOL_VERSION


class Refused(HostMessage, frozen=True, tag="refused"):
    """Host: this connection ends, for this reason; `is_final` where another host would say the same."""

    reason: str
    is_final: bool = False


_Kind = Annotated[str, msgspec.Meta(max_length=64)]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class Load(HostMessage, frozen=True, tag="load"):
    """Host, on a connection that watches: how many calls it has, and how far its event loop is behind.

    `malformed_messages` counts those of the agent's vendor, by kind, since the host began.
    """

    calls: int
    lag_ms: float
    is_draining: bool = False
    malformed_messages: Annotated[dict[_Kind, _Count], msgspec.Meta(max_length=16)] = msgspec.field(
        default_factory=dict
    )


class Handled(HostMessage, frozen=True, tag="handled"):
    """Host: the message of this `id`, and all before it, had its effect on the conversation."""

    id: int


FromWorker = (
    Watch
    | Open
    | AskGreet
    | AskPressed
    | AskSayAgain
    | AskFinish
    | AskText
    | AskApp
    | AskToolResult
    | ReplyInterrupted
    | PlaybackProgress
    | ReplyPlayed
    | CheckpointSaved
    | CallerAttached
)
FromHost = Hello | Refused | Load | Handled


def event_type(kind: type[AgentEvent]) -> str:
    """Return the `type` of an agent's event on the wire, as `final_transcript`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


EVENT_TYPES: Final[Mapping[str, type[AgentEvent]]] = {
    event_type(kind): kind for kind in get_args(AgentEvent) if kind is not ReplyAudio
}
_TYPES: Final = {kind: name for name, kind in EVENT_TYPES.items()}
_DOWN: Final[Mapping[str, type[FromWorker]]] = {kind.__struct_config__.tag: kind for kind in get_args(FromWorker)}
_UP: Final[Mapping[str, type[FromHost | AgentEvent]]] = {
    **{kind.__struct_config__.tag: kind for kind in get_args(FromHost)},
    **EVENT_TYPES,
}


def encode_control(messages: Iterable[HostMessage | AgentEvent]) -> bytes:
    """Return one WebSocket message of all these, which have their effect together."""
    maps = [each if isinstance(each, HostMessage) else _event_map(each) for each in messages]
    return bytes((HostKind.CONTROL,)) + msgspec.msgpack.encode(maps[0] if len(maps) == 1 else maps)


def encode_frame(sequence: int, audio: bytes, form: AudioFormat) -> bytes:
    """Return an uplink frame: its sequence as a varint, and its audio."""
    return bytes((HostKind.UPLINK_AUDIO,)) + encode_varint(sequence) + _packed(audio, form)


def encode_reply_audio(audio: bytes, form: AudioFormat) -> list[bytes]:
    """Return audio of the current reply, in as many messages as it takes."""
    size = MAX_AUDIO_PIECE_BYTES // SLOT_BYTES * SLOT_BYTES if form is AudioFormat.OPUS else MAX_AUDIO_PIECE_BYTES
    head = bytes((HostKind.DOWNLINK_AUDIO,))
    return [head + _packed(audio[start : start + size], form) for start in range(0, len(audio), size)]


def decode_from_worker(raw: bytes, form: AudioFormat) -> list[FromWorker] | tuple[int, bytes] | Malformed:
    """Read control messages, or a frame as (sequence, audio)."""
    if raw[:1] == bytes((HostKind.UPLINK_AUDIO,)):
        head = decode_varint(raw, 1)
        audio = None if head is None else _unpacked(raw[head[1] :], form)
        return Malformed("an uplink frame is cut short") if head is None or audio is None else (head[0], audio)
    return _control(raw, _DOWN)


def decode_from_host(raw: bytes, form: AudioFormat) -> list[FromHost | AgentEvent] | Malformed:
    """Read control messages and events; audio of the current reply is a `ReplyAudio`."""
    if raw[:1] == bytes((HostKind.DOWNLINK_AUDIO,)):
        audio = _unpacked(raw[1:], form)
        return Malformed("audio of a reply is cut short") if audio is None else [ReplyAudio(audio)]
    return _control(raw, _UP)


def _control(raw: bytes, types: Mapping[str, Any]) -> list[Any] | Malformed:
    if raw[:1] != bytes((HostKind.CONTROL,)):
        return [] if raw else Malformed("an empty message")
    try:
        body = msgspec.msgpack.decode(raw[1:])
        return [
            msgspec.convert(each if issubclass(kind, HostMessage) else _fields(each, kind), kind)
            for each in (body if isinstance(body, list) else [body])
            if (kind := types.get(str(each.get("type")) if isinstance(each, dict) else "")) is not None
        ]
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, TypeError, RecursionError) as error:
        return Malformed(f"a control message cannot be read: {' '.join(str(error).split())}")


def _event_map(event: AgentEvent) -> dict[str, Any]:
    values = {each.name: getattr(event, each.name) for each in fields(event)}
    return {"type": _TYPES[type(event)], **{key: value for key, value in values.items() if value is not None}}


def _fields(given: Mapping[str, Any], kind: type[AgentEvent]) -> dict[str, Any]:
    known = {each.name for each in fields(kind)}
    return {key: value for key, value in given.items() if key in known}


def _packed(audio: bytes, form: AudioFormat) -> bytes:
    """Leave the padding of slots of Opus out: each packet stands behind its length, of two bytes."""
    if form is not AudioFormat.OPUS:
        return audio
    packets = (packet_of(audio[start : start + SLOT_BYTES]) for start in range(0, len(audio), SLOT_BYTES))
    return b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets)


def _unpacked(body: bytes, form: AudioFormat) -> bytes | None:
    if form is not AudioFormat.OPUS:
        return body if form is AudioFormat.PCMU or len(body) % 2 == 0 else None
    slots, start = [], 0
    while start < len(body):
        end = start + 2 + int.from_bytes(body[start : start + 2], "big")
        if end > len(body) or end - start > SLOT_BYTES:
            return None
        slots.append(slot_of(body[start + 2 : end]) if end > start + 2 else EMPTY_SLOT)
        start = end
    return b"".join(slots)
