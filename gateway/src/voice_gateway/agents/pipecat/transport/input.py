"""The input of one call's pipeline: frames of the caller in, and what of them the pipeline has understood."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputDTMFFrame,
    InputTransportMessageFrame,
    LLMContextAssistantTurnFrame,
    LLMContextUserTurnFrame,
    StartFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams

from voice_gateway.agents.pipecat.transport.events import TurnEvents
from voice_gateway.agents.pipecat.transport.frames import SAMPLE_BYTES, CallerAudioFrame

_TEXT_TIMEOUT_S: Final = 1.5
"""When a turn that has stopped, or voice that began none, has no words; its frames are acknowledged as silence then."""
_MARGIN_S: Final = 1.2
"""Silence is acknowledged up to so long ago: speech to text may look back so far when a turn begins."""
_SILENCE_REPORT_S: Final = 0.5
_FRAMES_PER_S: Final = 50
_MOST_IN_FLIGHT: Final = 5
"""Frames between input and output. Frames that a client sends again come all at once; speech to text must not run ahead
of the voice activity behind it, or it has forgotten the first words when it learns that a turn began."""
_PASSING_TIMEOUT_S: Final = 2.0


class VoiceInput(BaseInputTransport):
    """Frames of the caller in, and what of them the pipeline has understood."""

    def __init__(self, turns: TurnEvents, params: TransportParams, input_rate_hz: int) -> None:
        super().__init__(params)
        self._turns = turns
        self._loop = asyncio.get_running_loop()
        self._silence = bytes(input_rate_hz // _FRAMES_PER_S * SAMPLE_BYTES)
        self._frames: asyncio.Queue[tuple[int | None, bytes]] = asyncio.Queue()
        self._pump: asyncio.Task[None] | None = None
        self._in_flight = 0
        self._passed = asyncio.Event()
        self._sequence = -1
        self._through = -1
        self._recent: deque[tuple[int, float]] = deque()
        self._heard_s = 0.0
        self._reported_s = 0.0
        self._is_voice = self._is_turn = False
        self._words_due_until: float | None = None
        self._other_copy: int | None = None

    @property
    def is_listening(self) -> bool:
        """Whether the caller speaks, or the words of what was said are still to come."""
        if self._words_due_until is not None and self._loop.time() >= self._words_due_until:
            self._words_due_until = None
        return self._is_voice or self._is_turn or self._words_due_until is not None

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._pump = self.create_task(self._pass_on())

    async def stop(self, frame: EndFrame) -> None:
        await self._stop_pump()
        await super().stop(frame)

    async def cleanup(self) -> None:
        await self._stop_pump()
        await super().cleanup()

    def hear(self, sequence: int, pcm: bytes) -> None:
        """Take the next frame; it waits until the pipeline has started."""
        self._frames.put_nowait((sequence, pcm))

    def hear_silence(self, seconds: float) -> None:
        """Let the turn under way end, because no frame follows."""
        for _ in range(round(seconds * _FRAMES_PER_S)):
            self._frames.put_nowait((None, self._silence))

    async def _pass_on(self) -> None:
        while True:
            sequence, pcm = await self._frames.get()
            frame = CallerAudioFrame(audio=pcm, sample_rate=self.sample_rate, num_channels=1)
            frame.sequence = sequence
            self._in_flight += 1
            await self.push_audio_frame(frame)
            while self._in_flight > _MOST_IN_FLIGHT:
                self._passed.clear()
                try:
                    await asyncio.wait_for(self._passed.wait(), _PASSING_TIMEOUT_S)
                except TimeoutError:
                    self._in_flight = 0

    def heard(self, frame: CallerAudioFrame) -> None:
        """The pipeline has heard this frame: voice in it has been noticed."""
        self._in_flight = max(0, self._in_flight - 1)
        self._passed.set()
        if frame.sequence is not None:
            self._sequence = frame.sequence
            self._heard_s += len(frame.audio) / SAMPLE_BYTES / frame.sample_rate
            self._recent.append((frame.sequence, self._heard_s))
            self._report_silence()

    async def _stop_pump(self) -> None:
        pump, self._pump = self._pump, None
        if pump is not None:
            await self.cancel_task(pump)

    def _report_silence(self) -> None:
        if self.is_listening or self._heard_s - self._reported_s < _SILENCE_REPORT_S:
            return
        through = None
        while self._recent and self._recent[0][1] <= self._heard_s - _MARGIN_S:
            through = self._recent.popleft()[0]
        if through is not None:
            self._reported_s = self._heard_s
            self._turns.silent(through)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Frames that travel upstream end here: among them are the pipeline's turns."""
        if direction is FrameDirection.UPSTREAM:
            self._follow(frame)
        await super().process_frame(frame, direction)

    def _follow(self, frame: Frame) -> None:
        match frame:
            case VADUserStartedSpeakingFrame():
                self._is_voice = True
            case UserStartedSpeakingFrame():
                self._is_turn = True
            case VADUserStoppedSpeakingFrame():
                self._is_voice = False
                self._stopped()
            case UserStoppedSpeakingFrame():
                self._is_turn = False
                self._stopped()
                self._turns.stopped_speaking(self._through)
            case LLMContextUserTurnFrame():
                self.understood(frame)
            case LLMContextAssistantTurnFrame():
                self._turns.answer_in_context()

    def understood(self, frame: LLMContextUserTurnFrame) -> None:
        """Take one of the two copies of a turn, whichever is first: one comes upstream, one with the answer."""
        if frame.id == self._other_copy:
            return
        self._other_copy = frame.broadcast_sibling_id
        self._words_due_until = None
        self._recent = deque(each for each in self._recent if each[0] > self._through)
        self._turns.understood(frame.text, self._through)

    def _stopped(self) -> None:
        self._through = self._sequence
        self._words_due_until = self._loop.time() + _TEXT_TIMEOUT_S

    async def press(self, digit: str) -> None:
        """Push a key of the telephone into the pipeline."""
        await self.push_frame(InputDTMFFrame(button=KeypadEntry(digit)))

    async def take(self, message: Mapping[str, Any]) -> None:
        """Push a message of the client: RTVI, or the application's own."""
        await self.broadcast_frame(InputTransportMessageFrame, message=dict(message))
