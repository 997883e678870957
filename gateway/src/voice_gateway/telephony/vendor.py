"""The base class of telephony vendors: how one vendor's media stream and webhooks look. Sans-IO.

A vendor is chosen by name (`[telephony] vendor`), which is that of an entry point in the group
`voice_gateway.telephony`: see `voice_gateway.telephony.loading`. `voice_gateway.testing.vendor_contract` tests any.
"""

from __future__ import annotations

import hmac
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Final

import msgspec

Form = Iterable[tuple[str, str]]


class Skip(StrEnum):
    """Why a message of the vendor was passed over; the call goes on."""

    MALFORMED = "malformed"
    """No JSON, no object, a key missing or of the wrong kind."""
    UNKNOWN_EVENT = "unknown_event"
    BINARY = "binary"
    BAD_PAYLOAD = "bad_payload"
    """Audio that is no base64, empty, or more than one frame may hold."""
    BEFORE_START = "before_start"
    BEFORE_READY = "before_ready"
    """More than is held back while the session store looks for the call."""
    SECOND_START = "second_start"
    WRONG_STREAM = "wrong_stream"
    OTHER_TRACK = "other_track"
    """Audio of a track that is not the caller's."""
    AFTER_STOP = "after_stop"
    TOO_LARGE = "too_large"
    """A message beyond the WebSocket's limit; the one that ends the connection, with code 1009."""


class StreamStarted(msgspec.Struct, frozen=True):
    """The stream begins. `parameters` are those of the answer document; `fault` says why its audio is unusable.

    `sequence`, here and below, numbers all messages of a stream, 0 if the vendor does not.
    """

    stream_id: str
    call_id: str
    parameters: Mapping[str, str] = {}
    fault: str | None = None
    sequence: int = 0


class MediaReceived(msgspec.Struct, frozen=True):
    """The caller's speech: mu-law bytes at 8 kHz, and milliseconds since the stream began.

    `payload` is a `Skip` where it cannot be used.
    """

    stream_id: str
    payload: bytes | Skip
    timestamp_ms: int
    sequence: int = 0


class MarkReturned(msgspec.Struct, frozen=True):
    """All audio before the mark of this name was played, or was cleared."""

    stream_id: str
    name: str
    sequence: int = 0


class KeyPressed(msgspec.Struct, frozen=True):
    """The caller pressed a key: one of `0-9A-D*#`."""

    stream_id: str
    digit: str
    sequence: int = 0


class StreamStopped(msgspec.Struct, frozen=True):
    """The call is over."""

    stream_id: str
    sequence: int = 0


VendorEvent = StreamStarted | MediaReceived | MarkReturned | KeyPressed | StreamStopped


@dataclass(frozen=True, slots=True)
class Webhook:
    """What a vendor's webhook says of a call; `call_id` is `None` if it names none."""

    call_id: str | None
    is_over: bool = False
    idempotency_token: str = ""
    """The same in each retry of one webhook."""


@dataclass(frozen=True, slots=True)
class Document:
    text: str
    content_type: str


@dataclass(frozen=True, slots=True)
class VendorSecrets:
    auth_token: str | None = field(default=None, repr=False)
    shared_key: str | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return bool(self.auth_token or self.shared_key)


class Vendor(ABC):
    """One vendor. `parse` and `media` must be written; all else has a default for vendors that lack it.

    Defaults: no marks (playback is estimated by time), no clearing, answers in JSON, and webhooks that are signed with
    the auth token: `X-Signature` holds the hexadecimal HMAC-SHA256 of the URL and the sorted form.
    """

    name: ClassVar[str]
    """Used in `kind`, metrics and the default path of streams."""
    stream_path: ClassVar[str] = "/v1/stream"
    """Where the vendor opens WebSockets."""
    webhook_path: ClassVar[str] = "/answer"
    """Where the vendor asks what to do with a call."""
    signature_header: ClassVar[str] = "x-signature"

    def __init__(self, secrets: VendorSecrets | None = None) -> None:
        self.secrets: Final = secrets or VendorSecrets()

    @abstractmethod
    def parse(self, text: bytes) -> VendorEvent | Skip | None:
        """Read a text message of the stream; `None` for one that means nothing here. Never raises."""

    @abstractmethod
    def media(self, stream_id: str, payload: bytes) -> bytes:
        """Return the message that queues mu-law bytes for the caller."""

    def mark(self, stream_id: str, name: str) -> bytes | None:
        """Return the message that asks for `MarkReturned` when all audio before it was played; `None`: no marks."""
        return None

    def clear(self, stream_id: str) -> bytes | None:
        """Return the message that drops all queued audio and returns pending marks at once; `None`: no clearing."""
        return None

    def webhook(self, fields: Mapping[str, str], headers: Mapping[str, str]) -> Webhook:
        """Read a webhook: its query and form joined, and its headers in lower case. Never raises."""
        return Webhook(fields.get("call_id") or None, fields.get("status") == "ended")

    def connect(self, stream_url: str, parameters: Mapping[str, str], again_url: str) -> Document:
        """Answer a webhook: join the call to the stream, and ask `again_url` when that ends before the call."""
        answer = {"stream": stream_url, "parameters": dict(parameters), "again": again_url}
        return Document(json.dumps(answer), "application/json")

    def hang_up(self) -> Document:
        """Answer a webhook: the call ends."""
        return Document("{}", "application/json")

    def transfer(self, target: str) -> Document:
        """Answer a webhook of a call that the agent hands on to `target`. Default: as `hang_up`."""
        return self.hang_up()

    def is_genuine(self, url: str, form: Form, headers: Mapping[str, str]) -> bool:
        """Whether the vendor signed the request to `url` with these secrets; header names are in lower case."""
        offered = headers.get(self.signature_header, "").encode()
        secret = self.secrets.auth_token
        if not secret or not offered:
            return False
        signed = url + "".join(name + value for name, value in sorted(form))
        made = hmac.digest(secret.encode(), signed.encode(errors="backslashreplace"), "sha256").hex()
        return hmac.compare_digest(made.encode(), offered)
