"""The numbers of WebTransport over HTTP/3; those of its drafts that differ are in `voicelink.h3.session.dialect`."""

from __future__ import annotations

from typing import Final

CLOSE_WEBTRANSPORT_SESSION: Final = 0x2843
DRAIN_WEBTRANSPORT_SESSION: Final = 0x78AE
MAX_DATA: Final = 0x190B4D3D
MAX_STREAM_DATA: Final = 0x190B4D3E
MAX_STREAMS_BIDI: Final = 0x190B4D3F
MAX_STREAMS_UNI: Final = 0x190B4D40
DATA_BLOCKED: Final = 0x190B4D41
STREAM_DATA_BLOCKED: Final = 0x190B4D42
STREAMS_BLOCKED_BIDI: Final = 0x190B4D43
STREAMS_BLOCKED_UNI: Final = 0x190B4D44

BUFFERED_STREAM_REJECTED: Final = 0x3994BD84
"""A stream of a session that was not opened yet, and there are too many of them."""
SESSION_GONE: Final = 0x170D7B68
"""A stream of a session that is over."""
FLOW_CONTROL_ERROR: Final = 0x045D4487
"""A peer lowered a limit of a session."""

_FIRST: Final = 0x52E4A40FA8DB
_LAST: Final = 0x52E5AC983162


def to_http_code(code: int) -> int:
    """Map a WebTransport stream error code, 0 to 2^32-1, to the HTTP/3 code on the wire (draft-02 section 4.3)."""
    if not 0 <= code < 1 << 32:
        raise ValueError(f"a stream error code is 0 to 2^32-1, got {code}")
    return _FIRST + code + code // 30


def from_http_code(http_code: int) -> int | None:
    """Map a code on the wire back; `None` if it is no WebTransport code."""
    if not _FIRST <= http_code <= _LAST or (http_code - 0x21) % 0x1F == 0:
        return None
    shifted = http_code - _FIRST
    return shifted - shifted // 31
