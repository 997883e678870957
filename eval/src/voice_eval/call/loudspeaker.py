"""A loudspeaker for drivers whose server sends sound at its own pace: a small buffer, then 20 ms at a time. Sans-IO."""

from __future__ import annotations

from typing import Final

PREBUFFER_S: Final = 0.06
"""So much is buffered before the first sound, as in a telephone."""


class Loudspeaker:
    """`push` what arrives, and `pull` 20 ms at each tick of the clock."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._buffer = bytearray()
        self._is_playing = False
        self._waited_s = 0.0

    @property
    def buffered_s(self) -> float:
        return len(self._buffer) / 2 / self.rate_hz

    def push(self, pcm: bytes) -> None:
        """Buffer PCM16 at `rate_hz`."""
        self._buffer += pcm

    def clear(self) -> None:
        """Drop what was not played: the agent was interrupted."""
        self._buffer.clear()
        self._is_playing = False

    def pull(self, seconds: float) -> bytes:
        """Return what is played now, nothing where it runs dry."""
        if not self._is_playing:
            self._waited_s = self._waited_s + seconds if self._buffer else 0.0
            # what is shorter than the buffer is played after having waited as long
            if self.buffered_s < PREBUFFER_S and self._waited_s < PREBUFFER_S:
                return b""
            self._is_playing = bool(self._buffer)
        size = round(seconds * self.rate_hz) * 2
        pcm = bytes(self._buffer[:size])
        del self._buffer[:size]
        if not self._buffer and len(pcm) < size:
            self._is_playing = False
            self._waited_s = 0.0
        return pcm
