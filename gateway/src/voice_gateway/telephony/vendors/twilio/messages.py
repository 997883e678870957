"""The JSON messages of Twilio Media Streams, sans-IO (Twilio documentation, "Media Streams - WebSocket messages").

All numbers are JSON strings on the wire. Reading never raises: what cannot be used comes back as a `Skip`.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import Annotated, Final

import msgspec

from voice_gateway.telephony.vendor import Skip
from voicelink.wire import MAX_AUDIO_BYTES

MEDIA_FORMAT: Final = ("audio/x-mulaw", 8_000, 1)

Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
Sid = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class _Message(msgspec.Struct, frozen=True, tag_field="event", rename="camel"):
    pass


class _Part(msgspec.Struct, frozen=True, rename="camel"):
    pass


class Connected(_Message, frozen=True, tag="connected"):
    """The first message, before anything is known of the call."""

    protocol: str = ""
    version: str = ""


class MediaFormat(_Part, frozen=True):
    """What the payloads hold."""

    encoding: str
    sample_rate: Number
    channels: Number


class StartFacts(_Part, frozen=True):
    """What is known of the call; `custom_parameters` are the `<Parameter>`s of the TwiML."""

    stream_sid: Sid
    call_sid: Sid
    media_format: MediaFormat
    account_sid: str = ""
    tracks: tuple[str, ...] = ()
    custom_parameters: dict[str, str] = {}


class Start(_Message, frozen=True, tag="start"):
    """The stream begins."""

    stream_sid: Sid
    start: StartFacts
    sequence_number: Number = 0


class MediaFacts(_Part, frozen=True):
    """`chunk` counts the stream's media from 1, `timestamp` milliseconds from its beginning."""

    payload: str
    timestamp: Number
    track: str = "inbound"
    chunk: Number = 0


class Media(_Message, frozen=True, tag="media"):
    """A piece of the caller's speech, in practice 20 ms."""

    stream_sid: Sid
    media: MediaFacts
    sequence_number: Number = 0


class DtmfFacts(_Part, frozen=True):
    """The key."""

    digit: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-D*#]$")]
    track: str = ""


class Dtmf(_Message, frozen=True, tag="dtmf"):
    """The caller pressed a key."""

    stream_sid: Sid
    dtmf: DtmfFacts
    sequence_number: Number = 0


class MarkFacts(_Part, frozen=True):
    """The name is ours."""

    name: str


class Mark(_Message, frozen=True, tag="mark"):
    """What was sent before the mark of this name has been played, or was cleared."""

    stream_sid: Sid
    mark: MarkFacts
    sequence_number: Number = 0


class Stop(_Message, frozen=True, tag="stop"):
    """The call, or its `<Connect>`, is over."""

    stream_sid: Sid
    sequence_number: Number = 0


TwilioMessage = Connected | Start | Media | Dtmf | Mark | Stop


def parse_message(text: bytes) -> TwilioMessage | Skip:
    """Read a text message."""
    try:
        if _EVENT.decode(text).event not in _EVENTS:
            return Skip.UNKNOWN_EVENT
        return _MESSAGE.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Skip.MALFORMED


def parse_payload(payload: str) -> bytes | Skip:
    """Return the bytes of a media payload: whole, unpadded white space and other alphabets refused."""
    try:
        data = b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        return Skip.BAD_PAYLOAD
    return data if 0 < len(data) <= MAX_AUDIO_BYTES else Skip.BAD_PAYLOAD


def media(stream_sid: str, payload: bytes) -> bytes:
    """Audio for the caller; Twilio queues it and plays it in order."""
    return _ENCODER.encode(
        {"event": "media", "streamSid": stream_sid, "media": {"payload": b64encode(payload).decode()}}
    )


def mark(stream_sid: str, name: str) -> bytes:
    """Ask to be told when all audio before it was played."""
    return _ENCODER.encode({"event": "mark", "streamSid": stream_sid, "mark": {"name": name}})


def clear(stream_sid: str) -> bytes:
    """Drop all audio that was not played yet; every pending mark comes back at once."""
    return _ENCODER.encode({"event": "clear", "streamSid": stream_sid})


class _Event(msgspec.Struct):
    event: str


_EVENTS: Final = frozenset({"connected", "start", "media", "dtmf", "mark", "stop"})
_ENCODER: Final = msgspec.json.Encoder()
_EVENT: Final = msgspec.json.Decoder(_Event)
# lax: numbers arrive as strings
_MESSAGE: Final[msgspec.json.Decoder[TwilioMessage]] = msgspec.json.Decoder(TwilioMessage, strict=False)
