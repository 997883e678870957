"""A vendor whose messages are JSON arrays: `["begin", stream, call, {...}]`, `["audio", stream, ms, base64]`, ...

It has marks (`["sync", stream, name]`) and cannot clear; webhooks, answers and signatures are the defaults.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from typing import Any, ClassVar

from voice_gateway.telephony.vendor import (
    KeyPressed,
    MarkReturned,
    MediaReceived,
    Skip,
    StreamStarted,
    StreamStopped,
    Vendor,
    VendorEvent,
)
from voicelink.wire import MAX_AUDIO_BYTES


class ToyVendor(Vendor):
    name: ClassVar[str] = "toy"
    stream_path: ClassVar[str] = "/v1/toy"
    webhook_path: ClassVar[str] = "/toy"

    def parse(self, text: bytes) -> VendorEvent | Skip | None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return Skip.MALFORMED
        if not isinstance(message, list) or len(message) < 2 or not all(isinstance(each, str) for each in message[:2]):
            return Skip.MALFORMED
        kind, stream, *rest = message
        match kind, rest:
            case "begin", [str(call), dict(parameters)]:
                return StreamStarted(stream, call, {str(name): str(value) for name, value in parameters.items()})
            case "audio", [int(at_ms), str(payload)] if at_ms >= 0:
                return MediaReceived(stream, _payload(payload), at_ms)
            case "synced", [str(name)]:
                return MarkReturned(stream, name)
            case "key", [str(digit)] if len(digit) == 1 and digit in "0123456789ABCD*#":
                return KeyPressed(stream, digit)
            case "end", []:
                return StreamStopped(stream)
            case "ping", _:
                return None
        return Skip.UNKNOWN_EVENT

    def media(self, stream_id: str, payload: bytes) -> bytes:
        return _message("audio", stream_id, b64encode(payload).decode())

    def mark(self, stream_id: str, name: str) -> bytes | None:
        return _message("sync", stream_id, name)


def _message(*parts: Any) -> bytes:
    return json.dumps(parts).encode()


def _payload(text: str) -> bytes | Skip:
    try:
        data = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return Skip.BAD_PAYLOAD
    return data if 0 < len(data) <= MAX_AUDIO_BYTES else Skip.BAD_PAYLOAD
