"""Agrees on protocol version, codec and uplink mode by a caller's first message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from voicelink.wire import PROTOCOL_VERSION, CloseCode, Codec, Malformed, Resume, Start, UplinkMode


@dataclass(frozen=True, slots=True)
class Agreement:
    """The codec of the downlink, how the caller's frames arrive, and which numbered message it expects, if any."""

    codec: Codec
    uplink: UplinkMode = UplinkMode.RELIABLE
    next_message: int | None = None


def agree(message: Start | Resume, *, has_datagrams: bool = False) -> Agreement | Malformed:
    """Return what both sides can do, or why there is nothing; modes but `RELIABLE` need `has_datagrams`."""
    if message.version != PROTOCOL_VERSION:
        reason = f"version {message.version} is not spoken here, version {PROTOCOL_VERSION} is"
        return Malformed(reason, CloseCode.UNSUPPORTED_VERSION)
    codec = next((_CODECS[value] for value in message.accept if value in _CODECS), None)
    if codec is None:
        reason = f"none of the codecs {list(message.accept)} is spoken here"
        return Malformed(reason, CloseCode.UNSUPPORTED_CODEC)
    is_known = has_datagrams and message.uplink in _UPLINK_MODES
    return Agreement(codec, UplinkMode(message.uplink) if is_known else UplinkMode.RELIABLE, message.next_message)


_CODECS: Final = {codec.value: codec for codec in Codec}
_UPLINK_MODES: Final = frozenset(UplinkMode)
