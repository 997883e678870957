"""The agent that benchmarks put into the worker: notes when each frame came, and may speak at the first.

`BENCH_FRAMES` names the file of lines "call sequence time"; `BENCH_SPEECH` is "none", "tone" (a tenth of a second),
"long" (8 s made in 2 s) or "echo": 20 ms for each frame, but not for those that come together after an outage, so that
callers have nothing to play later.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers.timing import FRAME_S, MADE_FASTER, SPEECH_FRAMES
from voice_gateway.agent.base import (
    Agent,
    Conversation,
    Emit,
    NoSpeechUpTo,
    Reply,
    ReplyAudio,
    ReplyEnded,
    UserAudio,
)

_RATE_HZ = 24_000
_ACK_EVERY = 5
_ECHO_APART_S = 0.015
_TONE = (np.sin(np.arange(round(_RATE_HZ * FRAME_S)) * 2 * np.pi / 48) * 8_000).astype("<i2").tobytes()


class Listener(Agent):
    """Notes frames; answers as `BENCH_SPEECH` says."""

    output_rate_hz = _RATE_HZ

    def __init__(self) -> None:
        self._file = Path(os.environ["BENCH_FRAMES"]).open("a", buffering=1)  # noqa: SIM115 - open as long as the worker
        kind = os.environ["BENCH_SPEECH"]
        self.is_echo = kind == "echo"
        self._speech_frames = {"none": 0, "tone": 5, "long": SPEECH_FRAMES, "echo": 0}[kind]
        self._calls = 0

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        """Begin the next call."""
        self._calls += 1
        return _Listening(emit, self._calls, self)

    @property
    def can_speak(self) -> bool:
        return self._speech_frames > 0

    def note(self, call: int, sequence: int) -> None:
        self._file.write(f"{call} {sequence} {time.monotonic()}\n")

    async def speak(self, emit: Emit) -> None:
        """Make a tone frame by frame, faster than it sounds."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        emit(Reply("speech"))
        for index in range(self._speech_frames):
            await asyncio.sleep(start + index * FRAME_S / MADE_FASTER - loop.time())
            emit(ReplyAudio(_TONE))
        emit(ReplyEnded())


class _Listening(Conversation):
    def __init__(self, emit: Emit, call: int, agent: Listener) -> None:
        super().__init__(emit)
        self._call = call
        self._agent = agent
        self._latest = -1
        self._echoed_at: float | None = None
        self._speaking: asyncio.Task[None] | None = None

    def hear(self, audio: UserAudio) -> None:
        self._agent.note(self._call, audio.sequence)
        self._latest = audio.sequence
        if self._agent.is_echo:
            self._echo(time.monotonic())
        if self._speaking is None and self._agent.can_speak:
            self._speaking = asyncio.create_task(self._agent.speak(self.emit))
        if audio.sequence % _ACK_EVERY == 0:
            self.emit(NoSpeechUpTo(audio.sequence))

    def _echo(self, now: float) -> None:
        if self._echoed_at is None:
            self.emit(Reply("echo"))
        elif now - self._echoed_at < _ECHO_APART_S:
            return
        self._echoed_at = now
        self.emit(ReplyAudio(_TONE))

    def say_again(self, text: str) -> None:
        """Make the speech anew, as an agent with a synthesizer does."""
        if self._speaking is not None:
            self._speaking.cancel()
        self._speaking = asyncio.create_task(self._agent.speak(self.emit))

    def close(self) -> None:
        if self._speaking is not None:
            self._speaking.cancel()

    def finish(self) -> None:
        self.emit(NoSpeechUpTo(self._latest))
        super().finish()
