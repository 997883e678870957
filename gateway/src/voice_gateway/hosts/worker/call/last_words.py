"""What the caller hears of a call that no host could take."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from voice_gateway.agent.base import Emit, Reply, ReplyAudio, ReplyEnded, StopReply

_PLAYOUT_GRACE_S: Final = 3.0


class LastWords:
    """Says the recorded apology over what is being said; `audio` is in the agent's format, empty for silence."""

    def __init__(self, emit: Emit, text: str, audio: bytes, bytes_per_s: int) -> None:
        self.is_said = False
        """Whether it was begun: reports of playback are then about it, or replies before it."""
        self._emit = emit
        self._text = text
        self._audio = audio
        self._bytes_per_s = bytes_per_s
        self._played = asyncio.Event()

    async def say(self) -> None:
        """Return once it was played, or must have been."""
        self.is_said = True
        self._emit(StopReply())
        if not self._audio:
            return
        self._emit(Reply(self._text or "..."))
        self._emit(ReplyAudio(self._audio))
        self._played.clear()
        self._emit(ReplyEnded())
        with suppress(TimeoutError):
            async with asyncio.timeout(len(self._audio) / self._bytes_per_s + _PLAYOUT_GRACE_S):
                await self._played.wait()

    def playback_finished(self) -> None:
        """A reply was played to its end, or cut off."""
        self._played.set()
