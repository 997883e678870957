"""QPACK without a dynamic table (RFC 9204), for the side that decodes. Sans-IO."""

from __future__ import annotations

from typing import Final

import pylsqpack
from aioquic.h3.events import Headers

SET_CAPACITY_TO_0: Final = b"\x20"
"""The one instruction that means nothing to a decoder without a table: section 3.2.3 forbids it, pylsqpack takes it."""


class StaticDecoder:
    """Stands in for `pylsqpack.Decoder`, which takes 4.5 KB; this one keeps nothing, and all connections share it.

    Raises `pylsqpack.DecompressionFailed` for a field section that is malformed or needs a table, and
    `pylsqpack.EncoderStreamError` for an instruction to insert into one.
    """

    def feed_header(self, stream_id: int, data: bytes) -> tuple[bytes, Headers]:
        """Decode a field section; returns what to send on the decoder stream, and the fields."""
        decoded: tuple[bytes, Headers] = pylsqpack.Decoder(0, 0).feed_header(stream_id, data)
        return decoded

    def feed_encoder(self, data: bytes) -> list[int]:
        """Take instructions; returns the streams that waited for them: none ever does."""
        if data.strip(SET_CAPACITY_TO_0):
            raise pylsqpack.EncoderStreamError("the dynamic table has no room")
        return []

    def cancel_stream(self, stream_id: int) -> bytes:
        """Return what to send for a stream that is not decoded: nothing (section 2.2.2.2)."""
        return b""


STATIC_DECODER: Final = StaticDecoder()
