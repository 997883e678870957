"""How much HTTP/3 a peer may make us hold or decode before the connection ends with H3_EXCESSIVE_LOAD."""

from __future__ import annotations

from typing import Final

from aioquic.h3.connection import ErrorCode, H3Stream, ProtocolError
from aioquic.h3.events import Headers

MAX_HEADERS_BYTES: Final = 8192
MAX_FIELD_SECTION_BYTES: Final = 32768
MAX_CONTROL_FRAME_BYTES: Final = 4096
MAX_REQUESTS: Final = 64
"""Requests of a connection that are not finished yet; one more is rejected, finished ones give their place back."""
MAX_SESSIONS: Final = 4
MAX_WAITING_BYTES: Final = 8192
MAX_WAITING_PIECES: Final = 64
"""What of a request may wait for SETTINGS that it has overtaken, besides its headers."""
STOPPED_SESSION_S: Final = 1.0
"""How long the end of a session may come behind the STOP_SENDING for its own stream."""


class ExcessiveLoadError(ProtocolError):
    """A frame or field section is beyond its limit; aioquic closes the connection with the code."""

    error_code = ErrorCode.H3_EXCESSIVE_LOAD


def check_frame_size(stream: H3Stream, limit: int) -> None:
    """Refuse the frame that begins on a stream by the length it announces, before any of it is kept."""
    if (stream.frame_size or 0) > limit:
        raise ExcessiveLoadError(f"frame {stream.frame_type:#x} is {stream.frame_size} bytes, the limit is {limit}")


def check_field_section(headers: Headers) -> None:
    """Refuse what small HEADERS have unpacked to, 32 bytes added for each field (RFC 9114 section 4.2.2)."""
    byte_count = sum(len(name) + len(value) + 32 for name, value in headers)
    if byte_count > MAX_FIELD_SECTION_BYTES:
        raise ExcessiveLoadError(f"a field section is {byte_count} bytes, the limit is {MAX_FIELD_SECTION_BYTES}")
