"""Hold audio: repeated while an agent is busy, at the pace at which it is heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from voice_gateway.agent.call.speaking.replies import Replies
from voice_gateway.agent.call.waiting import Changes

_PIECE_S: Final = 0.2
_AHEAD_S: Final = 0.6
"""How much of the audio is sent before it is heard: what is left of it must not be heard after the hold."""


class Hold:
    """Plays `pcm`, PCM16 of `bytes_per_s`, over and over; `stop` cuts off what is being said."""

    def __init__(
        self, replies: Replies, changes: Changes, stop: Callable[[], None], pcm: bytes, bytes_per_s: int
    ) -> None:
        if len(pcm) < 2 or len(pcm) % 2:
            raise ValueError(f"hold audio is PCM16 of one sample at least, got {len(pcm)} bytes")
        self._replies = replies
        self._changes = changes
        self._stop = stop
        self._pcm = pcm
        self._bytes_per_s = bytes_per_s
        self._piece_bytes = round(bytes_per_s * _PIECE_S) // 2 * 2
        self._position = 0
        self._pauses = 0

    async def run(self) -> None:
        """Play until cancelled; what interrupts it is listened to first."""
        while True:
            await self._changes.until(lambda: not self._pauses)
            await self._replies.play(self._pieces(), "")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Play nothing meanwhile: something else is being said."""
        self._pauses += 1
        if self._pauses == 1:
            self._stop()
        try:
            yield
        finally:
            self._pauses -= 1
            self._changes.notify()

    async def _pieces(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        begun, made_s = loop.time(), 0.0
        while not self._pauses:
            await asyncio.sleep(max(0.0, begun + made_s - _AHEAD_S - loop.time()))
            piece = self._next_piece()
            made_s += len(piece) / self._bytes_per_s
            yield piece

    def _next_piece(self) -> bytes:
        piece = bytearray()
        while len(piece) < self._piece_bytes:
            part = self._pcm[self._position : self._position + self._piece_bytes - len(piece)]
            piece += part
            self._position = (self._position + len(part)) % len(self._pcm)
        return bytes(piece)
