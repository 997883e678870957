"""Control messages: MessagePack maps whose `type` names them. Unknown keys and unknown types are skipped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

import msgspec
from msgspec import field

from voicelink.wire.codepoints import MAX_MESSAGE_BYTES, PROTOCOL_VERSION, Codec, Malformed, UplinkMode

Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=3_600_000)]
CallId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
ToolName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
PlainMap = dict[str, Any]
"""Of nil, booleans, numbers, strings, arrays and such maps, 32 levels at most; `is_plain` says whether one is."""


class Message(msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True, kw_only=True):
    """What all messages share: an immutable map, keys at their default left out."""


class Start(Message, frozen=True, tag="start"):
    """Client: opens a new session; must be its first message.

    `accept` lists the codecs the client can play, most wanted first. `agent` None asks for the default one. `uplink`
    is the `UplinkMode` the client would like; `ready` says which one it is. `next_message` is 0 for a client that knows
    the numbered messages (`NumberedMessage`), and `None` for others.
    """

    version: int = PROTOCOL_VERSION
    accept: tuple[int, ...] = (Codec.OPUS, Codec.PCM16_24K)
    agent: str | None = None
    uplink: str = UplinkMode.RELIABLE
    next_message: Count | None = None


class Resume(Message, frozen=True, tag="resume"):
    """Client: takes a session up that lost its connection; must be the first message, the next one follows `ready`.

    `utterance_id` is the newest that was announced to the client. `next_utterance_id` is the first one that was neither
    played to its end nor flushed, and `position_ms` of it have been played. `turn` is the newest of the transcript.
    `next_message` is the number of the first message that has not come from the server.
    """

    session: str
    token: str
    version: int = PROTOCOL_VERSION
    accept: tuple[int, ...] = (Codec.OPUS, Codec.PCM16_24K)
    utterance_id: Count = field(default=0, name="generation")
    next_utterance_id: Count = field(default=0, name="next_generation")
    position_ms: Count = 0
    turn: Count = 0
    uplink: str = UplinkMode.RELIABLE
    next_message: Count | None = None


class Played(Message, frozen=True, tag="played"):
    """Client: `position_ms` of `utterance_id` have left the loudspeaker; `is_complete` once all of it has.

    `timestamp` is where the clock of the uplink's timestamps stood at that moment, `None` where that is not known.
    """

    utterance_id: Count = field(name="generation")
    position_ms: Count
    is_complete: bool = False
    timestamp: Count | None = None


class Measured(Message, frozen=True, tag="measured"):
    """Client: what its side measured of `turn` since the last report, each on its own clock.

    `response_ms` is from the end of the last frame with voice (`latency.sequence`) to the answer's first audible
    sample, `uplink_age_ms` the part of it until that frame arrived, `playout_ms` the part since the answer's first
    audio arrived; `barge_in_ms` from the first frame that interrupted the answer (`flush.sequence`) to silence.
    `resume_gap_ms` is how long the session was without a connection, after which `frames_replayed` were sent again.
    """

    turn: Count
    response_ms: Milliseconds | None = None
    uplink_age_ms: Milliseconds | None = None
    playout_ms: Milliseconds | None = None
    barge_in_ms: Milliseconds | None = None
    resume_gap_ms: Milliseconds | None = None
    frames_replayed: Count = 0


class Ping(Message, frozen=True, tag="ping"):
    """Client: heartbeat; the answer is `pong` with the same `id`."""

    id: Count


class Dtmf(Message, frozen=True, tag="dtmf"):
    """Client: the caller pressed a key of the telephone."""

    digit: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-D*#]$")]


class Bye(Message, frozen=True, tag="bye"):
    """Client: no more audio follows the `frames` it sent; the server answers what was said, then says `bye`.

    Server: the session is over and nothing is outstanding; `frames` is how many uplink frames it received.
    """

    frames: Count
    reason: str = ""


class Text(Message, frozen=True, tag="text"):
    """Client: what the user typed, as its message `number`; the transcript shows it as a turn."""

    number: Count
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=4_000)]


class App(Message, frozen=True, tag="app"):
    """Either side: a message of the application, of plain values, as the sender's message `number`."""

    number: Count
    data: PlainMap


class ToolResult(Message, frozen=True, tag="tool_result"):
    """Client: the answer to `tool_call`, as its message `number`; `error` says in one sentence why there is none."""

    number: Count
    call_id: CallId
    result: Any = None
    error: Annotated[str, msgspec.Meta(max_length=1_000)] | None = None


class ToolCall(Message, frozen=True, tag="tool_call"):
    """Server: call a tool of the client's, as message `number`; repeated with the same `call_id`, it runs once."""

    number: Count
    call_id: CallId
    name: ToolName
    arguments: PlainMap
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 30.0


class ToolCancel(Message, frozen=True, tag="tool_cancel"):
    """Server: no answer to `call_id` is wanted any more, as message `number`."""

    number: Count
    call_id: CallId


class Transfer(Message, frozen=True, tag="transfer"):
    """Server: go on with `target`, as message `number`; `bye` follows once it is acknowledged."""

    number: Count
    target: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]


class Received(Message, frozen=True, tag="received"):
    """Either side: the peer may forget its messages up to `number`. The server has saved the effect of those."""

    number: Count


class Ready(Message, frozen=True, tag="ready"):
    """Server: the session exists. It speaks `codec`, and expects the uplink frame `next_sequence` by `uplink`.

    `token` is good for one `resume` within `resume_window_s`; `None` where a lost connection ends the session.
    `next_message` is the number of the first message that has not come from the client; `None` where none is taken.
    """

    session: str
    worker: str
    codec: int
    next_sequence: Count = 0
    token: str | None = None
    resume_window_s: float = 0.0
    version: int = PROTOCOL_VERSION
    uplink: str = UplinkMode.RELIABLE
    next_message: Count | None = None


class Transcript(Message, frozen=True, tag="transcript"):
    """Server: what `role` said in `turn`; a text with `is_final` false is replaced by the next of that turn.

    Of an agent's line `utterance_id` says which utterance it is: a later text of it replaces this one. Where it is said
    again, it `replaces` the lines of these utterances.
    """

    turn: Count
    role: Literal["user", "agent"]
    text: str
    is_final: bool
    utterance_id: Count | None = field(default=None, name="generation")
    replaces: tuple[Count, ...] = ()


class State(Message, frozen=True, tag="state"):
    """Server: the agent's state, whole (for the default agent, the order), after `revision` changes."""

    revision: Count
    state: dict[str, Any]


class Heard(Message, frozen=True, tag="heard"):
    """Server: the effect of every uplink frame up to `sequence` is saved; the client may forget them."""

    sequence: Count


class Speech(Message, frozen=True, tag="speech"):
    """Server: the answer to `turn` begins; its audio is the downlink stream of this utterance.

    `is_again`: it is what was being said when the connection was lost, from the position that `resume` named.
    """

    utterance_id: Count = field(name="generation")
    turn: Count
    is_again: bool = False


class Flush(Message, frozen=True, tag="flush"):
    """Server: drop the buffered audio of `utterance_id` and of all before, and any of it that still arrives.

    `sequence` is the uplink frame with which the caller began to speak, where the agent knows it.
    """

    utterance_id: Count = field(name="generation")
    sequence: Count | None = None


class Latency(Message, frozen=True, tag="latency"):
    """Server: where the worker spent the time before the answer `utterance_id` to `turn`; sent with its first audio.

    `sequence` is the last uplink frame with voice, and arrived `uplink_ms` later than the fastest frame of late. The
    rest follow each other, each measured on the worker's clock; `None` where the agent does not say.
    """

    turn: Count
    utterance_id: Count = field(name="generation")
    sequence: Count | None = None
    uplink_ms: Milliseconds | None = None
    endpointing_ms: Milliseconds | None = None
    stt_ms: Milliseconds | None = None
    llm_ms: Milliseconds | None = None
    tts_ms: Milliseconds | None = None


class Drain(Message, frozen=True, tag="drain"):
    """Server: this worker is going away: resume elsewhere now; here the session ends within `deadline_s`."""

    deadline_s: float


class Pong(Message, frozen=True, tag="pong"):
    """Server: the answer to `ping`."""

    id: Count


class Error(Message, frozen=True, tag="error"):
    """Server: the session ends for this reason; `code` is a `CloseCode`."""

    code: Count
    message: str


NumberedClientMessage = Text | App | ToolResult
NumberedServerMessage = App | ToolCall | ToolCancel | Transfer
NumberedMessage = NumberedClientMessage | NumberedServerMessage
ClientMessage = Start | Resume | Played | Measured | Ping | Dtmf | Bye | NumberedClientMessage | Received
ServerMessage = (
    Ready
    | Transcript
    | State
    | Heard
    | Speech
    | Flush
    | Latency
    | Drain
    | Pong
    | Error
    | Bye
    | NumberedServerMessage
    | Received
)


def encode_message(message: ClientMessage | ServerMessage) -> bytes:
    """Return the MessagePack map; on a stream send it through `length_prefixed`."""
    return _ENCODER.encode(message)


def decode_client_message(body: bytes) -> ClientMessage | Malformed | None:
    """Read what a client sent; `None` is a message of an unknown type, to be skipped."""
    return _decode(body, _CLIENT_DECODER, _CLIENT_TAGS)


def decode_server_message(body: bytes) -> ServerMessage | Malformed | None:
    """Read what a server sent; `None` is a message of an unknown type, to be skipped."""
    return _decode(body, _SERVER_DECODER, _SERVER_TAGS)


def is_plain(value: object, levels: int = 32) -> bool:
    """Whether an application's value may be sent: nil, booleans, numbers, strings, arrays, maps of string keys.

    Integers fit into 64 bits, floats are finite.
    """
    if value is None or isinstance(value, bool | str):
        return True
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 64
    if isinstance(value, float):
        return math.isfinite(value)
    if not levels:
        return False
    if isinstance(value, list | tuple):
        return all(is_plain(each, levels - 1) for each in value)
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and is_plain(each, levels - 1) for key, each in value.items()
    )


class _Tag(msgspec.Struct):
    type: str


_M = TypeVar("_M")


def _decode(body: bytes, decoder: msgspec.msgpack.Decoder[_M], tags: frozenset[str]) -> _M | Malformed | None:
    try:
        if _TAG_DECODER.decode(body).type not in tags:
            return None
        try:
            message = decoder.decode(body)
        except msgspec.ValidationError:
            message = msgspec.convert(_with_whole_numbers(msgspec.msgpack.decode(body)), decoder.type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Malformed(f"control message: {error}")
    if isinstance(message, NumberedMessage):
        return _unfit(message, len(body)) or message
    return message


def _unfit(message: NumberedMessage, size: int) -> Malformed | None:
    """Return why a numbered message cannot be taken, besides its keys and their types."""
    if size > MAX_MESSAGE_BYTES:
        return Malformed(f"a numbered message holds at most {MAX_MESSAGE_BYTES} bytes, this one has {size}")
    match message:
        case App(data=value) | ToolCall(arguments=value) | ToolResult(result=value):
            if not is_plain(value):
                return Malformed("what an application sends is nil, booleans, numbers, strings, arrays and maps")
    return None


def _with_whole_numbers(fields: dict[str, Any]) -> dict[str, Any]:
    """Turn floats into the integers that they equal, and round positions; what applications send is kept."""
    return {
        key: [_whole(key, each) for each in value] if isinstance(value, list) else _whole(key, value)
        for key, value in fields.items()
        if key not in _KEPT
    } | {key: fields[key] for key in _KEPT & fields.keys()}


def _whole(key: str, value: Any) -> Any:
    if isinstance(value, float) and (value.is_integer() or (key in _ROUNDED and math.isfinite(value))):
        return round(value)
    return value


_ROUNDED: Final = frozenset({"position_ms"})
_KEPT: Final = frozenset({"result"})


def _tags(union: object) -> frozenset[str]:
    return frozenset(str(message.__struct_config__.tag) for message in get_args(union))


_ENCODER: Final = msgspec.msgpack.Encoder()
_TAG_DECODER: Final = msgspec.msgpack.Decoder(_Tag)
_CLIENT_DECODER: Final[msgspec.msgpack.Decoder[ClientMessage]] = msgspec.msgpack.Decoder(ClientMessage)
_SERVER_DECODER: Final[msgspec.msgpack.Decoder[ServerMessage]] = msgspec.msgpack.Decoder(ServerMessage)
_CLIENT_TAGS: Final = _tags(ClientMessage)
_SERVER_TAGS: Final = _tags(ServerMessage)
