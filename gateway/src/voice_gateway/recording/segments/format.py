"""The bytes of a segment: what one worker saw of one call, in blocks that are only ever appended. Sans-IO.

A segment is up to three files of the same form, `STEM.events`, `STEM.audio` and `STEM.words`, so that sound and words
can be deleted by themselves. A file is a sequence of blocks: length of the body (4 bytes, big-endian), its CRC-32
(4 bytes), and the body, a MessagePack array of records. A process that is killed leaves an unfinished block at the
end, which readers leave out.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from voice_gateway.errors import GatewayError
from voicelink.wire import AudioFrame, Codec

FORMAT_VERSION: Final = 1
EVENTS_SUFFIX: Final = ".events"
AUDIO_SUFFIX: Final = ".audio"
WORDS_SUFFIX: Final = ".words"
_HEADER: Final = struct.Struct(">II")
_MAX_BLOCK_BYTES: Final = 1 << 28


class NewerRecording(GatewayError):  # noqa: N818 - it says what is wrong
    """A segment was written by a newer version of the worker, in a format that this one cannot read."""


class _Record(msgspec.Struct, frozen=True, gc=False, array_like=True, omit_defaults=True):
    """`at_us` is the time of a record on its worker's clock, in microseconds since the segment began."""

    at_us: int


class Head(_Record, frozen=True, gc=False, array_like=True, tag="head"):
    """The first record of each file: whose call this is, which worker wrote it, and when it began.

    `wall_us` is the beginning in microseconds since 1970. `epoch` is that of the session record: where two workers
    wrote the same frame, the later epoch counts.
    """

    session_id: str
    worker: str
    epoch: int
    wall_us: int
    agent: str = ""
    subject: str | None = None
    transport: str = ""
    peer: str = ""
    has_audio: bool = False
    has_words: bool = False
    version: int = FORMAT_VERSION


class _Frame(_Record, frozen=True, gc=False, array_like=True):
    """The fields of an `AudioFrame`."""

    sequence: int
    timestamp: int
    codec: Codec
    payload: bytes

    def frame(self) -> AudioFrame:
        return AudioFrame(self.sequence, self.timestamp, self.codec, self.payload)


class Uplink(_Frame, frozen=True, gc=False, array_like=True, tag="up"):
    """A frame of the caller, as it arrived, once, in order of `sequence`."""


class Downlink(_Frame, frozen=True, gc=False, array_like=True, tag="down"):
    """A frame of an answer, as it was sent."""

    utterance_id: int


class Playback(_Record, frozen=True, gc=False, array_like=True, tag="played"):
    """The caller's report, from `played`; from `resume` (`is_resume`) for the first utterance that was not finished.

    `timestamp` is where the caller's side says its media clock stood, `None` where it does not say.
    """

    utterance_id: int
    position_ms: int
    is_complete: bool = False
    is_resume: bool = False
    timestamp: int | None = None


class Words(_Record, frozen=True, gc=False, array_like=True, tag="words"):
    """What was said, typed, or given to a tool or by one; `facts` holds it beside the turn, or the ID of the call."""

    kind: str
    facts: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Event(_Record, frozen=True, gc=False, array_like=True, tag="event"):
    """Anything else; `kind` is one of the words in `gateway/docs/recording.md`, `facts` are plain values."""

    kind: str
    facts: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Hole(_Record, frozen=True, gc=False, array_like=True, tag="hole"):
    """So many records before this one were dropped: `cause` is `queue_full` or `write_failed`."""

    records: int
    cause: str


Record = Head | Uplink | Downlink | Playback | Words | Event | Hole
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Record])
_raw_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_head_decoder = msgspec.msgpack.Decoder(Head)


def encode_block(records: Iterable[Record]) -> bytes:
    """Return the block that holds these records."""
    body = _encoder.encode(list(records))
    return _HEADER.pack(len(body), zlib.crc32(body)) + body


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a file holds; `lost_bytes` at its end belong to no whole block."""

    records: tuple[Record, ...]
    lost_bytes: int = 0


def parse(data: bytes) -> Parsed:
    """Read the whole blocks of a file; what follows the first one that is cut or damaged is left out.

    Raises `NewerRecording`.
    """
    records: list[Record] = []
    position = 0
    while position + _HEADER.size <= len(data):
        length, checksum = _HEADER.unpack_from(data, position)
        begin, end = position + _HEADER.size, position + _HEADER.size + length
        body = data[begin:end]
        if length > _MAX_BLOCK_BYTES or len(body) < length or zlib.crc32(body) != checksum:
            break
        if not position:
            _check_version(body)
        try:
            records += _decoder.decode(body)
        except msgspec.DecodeError:
            break
        position = end
    return Parsed(tuple(records), len(data) - position)


def _check_version(first: bytes) -> None:
    """Refuse a newer format by its head, the first record in every format; the rest may be of unknown kinds."""
    try:
        version = _head_decoder.decode(_raw_decoder.decode(first)[0]).version
    except (msgspec.DecodeError, IndexError):
        return  # no head: what reads the segment leaves it out
    if version > FORMAT_VERSION:
        raise NewerRecording(
            f"the recording has format {version}, and this version of voice-gateway reads format {FORMAT_VERSION} and "
            "older ones: read it with the version that wrote it"
        )


def segment_stem(wall_us: int, epoch: int, worker: str) -> str:
    """Return the name of a segment's files without their suffix; names sort as their segments began."""
    return f"{wall_us // 1000:013d}-{epoch:06d}-{_UNSAFE.sub('_', worker)[:64]}"


def stem_began(name: str) -> float | None:
    """Return when the segment of this file began, in seconds since 1970; `None` for a file that is none of ours."""
    milliseconds = name.partition("-")[0]
    return int(milliseconds) / 1000 if len(milliseconds) == 13 and milliseconds.isdecimal() else None


def is_call_name(name: str) -> bool:
    """Whether a session ID can name a folder as it is."""
    return _CALL.fullmatch(name) is not None


_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.]")
_CALL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
