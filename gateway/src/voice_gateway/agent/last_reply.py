"""The last reply of a call whose agent failed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from voice_gateway.agent.apology import Apology
from voice_gateway.agent.base import Emit, PlaybackFinished, Reply, ReplyAudio, ReplyEnded, StopReply

_PLAYOUT_GRACE_S: Final = 3.0


class LastReply:
    """Says an apology over what is being said; `bytes_per_s` is that of the agent's audio."""

    def __init__(self, emit: Emit, bytes_per_s: float) -> None:
        self.is_begun = False
        """Whether nothing else is said any more: reports of playback are about it, or about replies before it."""
        self._emit = emit
        self._bytes_per_s = bytes_per_s
        self._text: str | None = None
        self._played = asyncio.Event()

    async def say(self, apology: Apology) -> None:
        """Return once it was played or cut off, or must have been played. Without audio it is silence."""
        self.is_begun = True
        self._emit(StopReply())
        if not apology.audio:
            return
        self._text = apology.text
        self._emit(Reply(apology.text))
        self._emit(ReplyAudio(apology.audio))
        self._emit(ReplyEnded())
        with suppress(TimeoutError):
            async with asyncio.timeout(len(apology.audio) / self._bytes_per_s + _PLAYOUT_GRACE_S):
                await self._played.wait()

    def playback_finished(self, playback: PlaybackFinished) -> None:
        """Take the report about any reply; those before it were cut off as it began, or are played whole."""
        if self._text is not None and (playback.is_interrupted or playback.text == self._text):
            self._played.set()
