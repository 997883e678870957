"""Twilio: Media Streams, TwiML and request signatures as a `Vendor`, sans-IO.

Media Streams are JSON over a WebSocket, mu-law at 8 kHz both ways; all numbers are JSON strings (Twilio documentation,
"Media Streams - WebSocket messages"). Reading never raises: what cannot be used comes back as a `Skip`. The simulator
beside this file is written from the same documentation, apart from it: the two check each other.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from html import escape
from typing import Annotated, ClassVar, Final

import msgspec

from voice_gateway.telephony.vendor import (
    Document,
    Form,
    KeyPressed,
    MarkReturned,
    MediaReceived,
    Skip,
    StreamStarted,
    StreamStopped,
    Vendor,
    VendorEvent,
    Webhook,
)
from voicelink.wire import MAX_AUDIO_BYTES

SIGNATURE_HEADER: Final = "x-twilio-signature"
SETTINGS_HEADER: Final = "x-twilio-webhooks-signature-settings"
IDEMPOTENCY_HEADER: Final = "i-twilio-idempotency-token"
MEDIA_FORMAT: Final = ("audio/x-mulaw", 8_000, 1)
EMPTY_RESPONSE: Final = '<?xml version="1.0" encoding="UTF-8"?>\n<Response/>\n'
_OVER: Final = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
_XML: Final = "text/xml; charset=utf-8"


class TwilioVendor(Vendor):
    """Twilio queues what it is sent and plays it in order; marks and `clear` follow that queue."""

    name: ClassVar[str] = "twilio"
    stream_path: ClassVar[str] = "/v1/twilio"
    webhook_path: ClassVar[str] = "/twiml"
    signature_header: ClassVar[str] = SIGNATURE_HEADER

    def parse(self, text: bytes) -> VendorEvent | Skip | None:
        message = parse_message(text)
        match message:
            case Media():
                payload = parse_payload(message.media.payload) if message.media.track == "inbound" else Skip.OTHER_TRACK
                return MediaReceived(message.stream_sid, payload, message.media.timestamp, message.sequence_number)
            case Mark():
                return MarkReturned(message.stream_sid, message.mark.name, message.sequence_number)
            case Dtmf():
                return KeyPressed(message.stream_sid, message.dtmf.digit, message.sequence_number)
            case Start():
                return _started(message)
            case Stop():
                return StreamStopped(message.stream_sid, message.sequence_number)
            case Connected():
                return None
        return message

    def media(self, stream_id: str, payload: bytes) -> bytes:
        encoded = b64encode(payload).decode()
        return _ENCODER.encode({"event": "media", "streamSid": stream_id, "media": {"payload": encoded}})

    def mark(self, stream_id: str, name: str) -> bytes | None:
        return _ENCODER.encode({"event": "mark", "streamSid": stream_id, "mark": {"name": name}})

    def clear(self, stream_id: str) -> bytes | None:
        return _ENCODER.encode({"event": "clear", "streamSid": stream_id})

    def webhook(self, fields: Mapping[str, str], headers: Mapping[str, str]) -> Webhook:
        is_over = fields.get("CallStatus") in _OVER
        return Webhook(fields.get("CallSid") or None, is_over, headers.get(IDEMPOTENCY_HEADER, ""))

    def connect(self, stream_url: str, parameters: Mapping[str, str], again_url: str) -> Document:
        return Document(connect_stream(stream_url, parameters, again_url), _XML)

    def hang_up(self) -> Document:
        return Document(EMPTY_RESPONSE, _XML)

    def transfer(self, target: str) -> Document:
        """Dial a number (`+15551234`, `tel:+15551234`) or a SIP URI, or go on with the TwiML at an HTTPS URL."""
        return Document(transfer_call(target), _XML)

    def is_genuine(self, url: str, form: Form, headers: Mapping[str, str]) -> bool:
        """Whether Twilio signed the request to `url` (with any query), "Webhooks security" in its documentation.

        The key is the account's auth token with SHA-1, or a shared key with SHA-256 where `SETTINGS_HEADER` says so.
        Twilio signs URLs with their port or without it, however they were given: both are tried.
        """
        algorithm = _algorithm(headers.get(SETTINGS_HEADER, ""))
        secret = {"HMAC_SHA1": self.secrets.auth_token, "HMAC_SHA256": self.secrets.shared_key}.get(algorithm)
        offered = headers.get(SIGNATURE_HEADER, "").encode()
        if not secret or not offered:
            return False
        form = tuple(form)
        made = [signature(secret, each, form, _DIGESTS[algorithm]).encode() for each in _spellings(url)]
        return any(hmac.compare_digest(each, offered) for each in made)


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
    digit: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-D*#]$")]
    track: str = ""


class Dtmf(_Message, frozen=True, tag="dtmf"):
    stream_sid: Sid
    dtmf: DtmfFacts
    sequence_number: Number = 0


class MarkFacts(_Part, frozen=True):
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
    """Read a text message of the stream. Never raises."""
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


def _started(message: Start) -> StreamStarted | Skip:
    facts = message.start
    if facts.stream_sid != message.stream_sid:
        return Skip.WRONG_STREAM
    audio = facts.media_format
    is_usable = (audio.encoding, audio.sample_rate, audio.channels) == MEDIA_FORMAT
    fault = None if is_usable else "audio must be mu-law at 8000 Hz on one channel"
    return StreamStarted(facts.stream_sid, facts.call_sid, facts.custom_parameters, fault, message.sequence_number)


def connect_stream(url: str, parameters: Mapping[str, str], action: str | None) -> str:
    """Return the TwiML that connects the call both ways to the stream at `url` ("TwiML Voice: <Stream>").

    Twilio allows no query in `url`; `parameters` come back in the stream's `start`. Twilio asks for `action` when the
    stream ended while the call goes on; without it, the call ends.
    """
    joined = "".join(
        f'<Parameter name="{escape(name)}" value="{escape(value)}"/>' for name, value in parameters.items()
    )
    then = "" if action is None else f' action="{escape(action)}" method="POST"'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<Response><Connect{then}><Stream url="{escape(url)}">{joined}</Stream></Connect></Response>\n'
    )


def transfer_call(target: str) -> str:
    """Return the TwiML that hands the call on ("TwiML Voice: <Dial>", "<Redirect>")."""
    text = escape(target.removeprefix("tel:"))
    if target.startswith("https://"):
        verb = f'<Redirect method="POST">{text}</Redirect>'
    elif target.startswith(("sip:", "sips:")):
        verb = f"<Dial><Sip>{text}</Sip></Dial>"
    else:
        verb = f"<Dial>{text}</Dial>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Response>{verb}</Response>\n'


def signature(secret: str, url: str, form: Form = (), digest: str = "sha1") -> str:
    """Return `X-Twilio-Signature`: base64 of an HMAC over the URL as Twilio called it and the sorted form."""
    signed = url + "".join(name + value for name, value in sorted(set(form)))
    return b64encode(hmac.digest(secret.encode(), signed.encode(), digest)).decode()


def _algorithm(settings: str) -> str:
    """The algorithm in `key=...,algorithm=HMAC_SHA256`; without one, that of the auth token."""
    for part in settings.split(","):
        name, _, value = part.partition("=")
        if name.strip() == "algorithm" and value.strip():
            return value.strip().upper()
    return "HMAC_SHA1"


def _spellings(url: str) -> tuple[str, ...]:
    """The URL as it is, without its port, and with the port that its scheme implies. Total: a host is any text."""
    scheme, _, rest = url.partition("://")
    authority, slash, target = rest.partition("/")
    host, colon, port = authority.rpartition(":")
    if not colon or not port.isdecimal():
        host = authority
    default = f"{host}:{_PORTS.get(scheme, 443)}"
    spelled = (url, *(f"{scheme}://{each}{slash}{target}" for each in (host, default)))
    return tuple(dict.fromkeys(spelled))


class _Event(msgspec.Struct):
    event: str


_EVENTS: Final = frozenset({"connected", "start", "media", "dtmf", "mark", "stop"})
_ENCODER: Final = msgspec.json.Encoder()
_EVENT: Final = msgspec.json.Decoder(_Event)
# lax: numbers arrive as strings
_MESSAGE: Final[msgspec.json.Decoder[TwilioMessage]] = msgspec.json.Decoder(TwilioMessage, strict=False)
_DIGESTS: Final = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
_PORTS: Final = {"https": 443, "wss": 443, "http": 80, "ws": 80}
