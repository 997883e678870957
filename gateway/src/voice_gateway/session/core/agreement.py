"""What a caller's first message must agree on with this worker. Sans-IO."""

from __future__ import annotations

from typing import Final

from voicelink.wire import PROTOCOL_VERSION, CloseCode, Codec, Malformed, Resume, Start


def agree(message: Start | Resume) -> Codec | Malformed:
    """Return the codec to answer in, or why there is none."""
    if message.version != PROTOCOL_VERSION:
        reason = f"version {message.version} is not spoken here, version {PROTOCOL_VERSION} is"
        return Malformed(reason, CloseCode.UNSUPPORTED_VERSION)
    codec = next((_CODECS[value] for value in message.accept if value in _CODECS), None)
    if codec is None:
        reason = f"none of the codecs {list(message.accept)} is spoken here"
        return Malformed(reason, CloseCode.UNSUPPORTED_CODEC)
    return codec


_CODECS: Final = {codec.value: codec for codec in Codec}
