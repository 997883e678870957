"""LiveKit's audio input: the user's frames, read no faster than its voice activity can follow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from livekit import rtc
from livekit.agents.voice.io import AudioInput

from voice_gateway.agent.call.waiting import Changes

CATCH_UP: Final = 8
"""How many times faster than speech frames that were sent again are read: LiveKit's events carry no positions."""
SAMPLE_BYTES: Final = 2


class UserInput(AudioInput):
    """The user's frames, at most `CATCH_UP` times as fast as they were spoken.

    `on_read` gets the sequence and the duration in ms of each frame that LiveKit has read.
    """

    def __init__(self, rate_hz: int, on_read: Callable[[int, float], None]) -> None:
        super().__init__(label="voice-gateway")
        self._rate_hz = rate_hz
        self._on_read = on_read
        self._frames: deque[tuple[bytes, int | None]] = deque()
        self._changes = Changes()

    @property
    def is_read(self) -> bool:
        """Whether LiveKit has read all."""
        return not self._frames

    def push(self, pcm: bytes, sequence: int | None) -> None:
        """Take a frame; of none that the user sent, the sequence is `None`."""
        self._frames.append((pcm, sequence))
        self._changes.notify()

    def push_silence(self, duration_s: float) -> None:
        """Add silence in frames of 20 ms."""
        for _ in range(round(duration_s * 50)):
            self.push(bytes(self._rate_hz // 50 * SAMPLE_BYTES), None)

    async def __anext__(self) -> rtc.AudioFrame:
        """Return the next frame; the one before has been taken by LiveKit's voice activity and speech to text."""
        await self._changes.until(lambda: bool(self._frames))
        pcm, sequence = self._frames.popleft()
        samples = len(pcm) // SAMPLE_BYTES
        if self._frames:
            await asyncio.sleep(samples / self._rate_hz / CATCH_UP)
        if sequence is not None:
            self._on_read(sequence, samples * 1000 / self._rate_hz)
        return rtc.AudioFrame(pcm, self._rate_hz, 1, samples)
