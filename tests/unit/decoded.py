"""PCM of frames that must decode."""

from __future__ import annotations

from voicelink.wire import Malformed


def pcm_of(decoded: bytes | Malformed) -> bytes:
    assert not isinstance(decoded, Malformed), decoded
    return bytes(decoded)
