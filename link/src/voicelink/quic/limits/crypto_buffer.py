"""Reassembly of CRYPTO frames in fixed memory (RFC 9000 section 7.5). Sans-IO."""

from __future__ import annotations

from typing import Final

from aioquic.quic.events import StreamDataReceived
from aioquic.quic.packet import QuicStreamFrame

SERVER_WINDOW_BYTES: Final = 16_384
"""A ClientHello with a post-quantum key share and a session ticket has 2 to 4 KB."""
CLIENT_WINDOW_BYTES: Final = 65_536
"""A server's certificate chain may be that long."""


class CryptoOverflowError(Exception):
    """The peer sent more than the window holds; close with CRYPTO_BUFFER_EXCEEDED."""


class CryptoReceiver:
    """The receive half of one encryption level's CRYPTO stream, in place of aioquic's `QuicStreamReceiver`.

    It holds up to `window_bytes` beyond what TLS was given, in any order and any number of pieces: one flag marks each
    byte that arrived. So the memory is twice the window at most, and a frame costs its own length, wherever its gaps
    are. RFC 9000 section 7.5 asks for 4096 bytes.
    """

    def __init__(self, window_bytes: int) -> None:
        self._window_bytes = window_bytes
        self._start = 0
        self._data = bytearray()
        self._has = bytearray()

    def starting_offset(self) -> int:
        """The offset of the next byte for TLS."""
        return self._start

    def handle_frame(self, frame: QuicStreamFrame) -> StreamDataReceived | None:
        """Take a frame and return what is in order now; raises `CryptoOverflowError`."""
        end = frame.offset + len(frame.data) - self._start
        if end <= 0:
            return None
        if end > self._window_bytes:
            raise CryptoOverflowError
        begin = max(0, frame.offset - self._start)
        data = frame.data[len(frame.data) - (end - begin) :]
        if not data:
            return None
        if begin == 0 and not self._has:
            return self._deliver(data)
        if end > len(self._has):
            missing = bytes(end - len(self._has))
            self._data += missing
            self._has += missing
        self._data[begin:end] = data
        self._has[begin:end] = b"\1" * len(data)
        if not self._has[0]:
            return None
        gap = self._has.find(0)
        ready = len(self._has) if gap < 0 else gap
        data = bytes(self._data[:ready])
        del self._data[:ready], self._has[:ready]
        return self._deliver(data)

    def _deliver(self, data: bytes) -> StreamDataReceived:
        self._start += len(data)
        return StreamDataReceived(data=data, end_stream=False, stream_id=0)
