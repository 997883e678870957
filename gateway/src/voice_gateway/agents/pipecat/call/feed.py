"""What the client gives the pipeline: its audio, keys, texts and messages, and the end of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from pipecat.frames.frames import LLMMessagesAppendFrame
from pipecat.processors.frame_processor import FrameDirection

from voice_gateway.agent.base import AppMessage, Emit, Finished, StateChanged, UserAudio, UserText
from voice_gateway.agent.call.waiting import Changes, sleep_in_steps
from voice_gateway.agents.pipecat.call.progress import PipelineProgress
from voice_gateway.agents.pipecat.call.turns import PipelineTurns
from voice_gateway.agents.pipecat.transport.transport import VoiceTransport

_CLOSING_SILENCE_S: Final = 1.5
_SETTLING_S: Final = 0.3
_HEARING_TIMEOUT_S: Final = 10.0
_WORDS_TIMEOUT_S: Final = 1.0


class PipelineFeed:
    """Puts each into the pipeline's input. `spawn` runs a coroutine beside the pipeline."""

    def __init__(
        self,
        emit: Emit,
        transport: VoiceTransport,
        turns: PipelineTurns,
        progress: PipelineProgress,
        changes: Changes,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._emit = emit
        self._input, self._output = transport.input(), transport.output()
        self._turns = turns
        self._progress = progress
        self._changes = changes
        self._spawn = spawn

    def audio(self, audio: UserAudio) -> None:
        """Give the pipeline the next frame."""
        self._input.hear(audio.sequence, audio.pcm)

    def digit(self, digit: str) -> None:
        """Give the pipeline a key of the telephone."""
        self._spawn(self._input.press(digit))

    def text(self, text: UserText) -> None:
        """Interrupt what is being said, and make a turn of the text."""
        self._turns.typed(text)
        self._spawn(self._append(text.text))

    def message(self, message: AppMessage) -> None:
        """Give the pipeline a message of the client; it is acknowledged at once."""
        self._spawn(self._input.take(message.data))
        self._emit(StateChanged(through_message=message.number))

    def end(self) -> None:
        """End the turn under way; once it is answered, emit `Finished`."""
        until_s = self._output.silence_heard_s + _CLOSING_SILENCE_S
        self._input.hear_silence(_CLOSING_SILENCE_S)
        self._spawn(self._finish(until_s))

    async def until_understood(self) -> None:
        """Return once what the caller said so far has its words, or is late with them."""
        await self._changes.until(lambda: not self._input.is_listening, _WORDS_TIMEOUT_S)

    async def _append(self, text: str) -> None:
        await self._input.broadcast_interruption()
        frame = LLMMessagesAppendFrame([{"role": "user", "content": text}], run_llm=True)
        await self._input.queue_frame(frame, FrameDirection.DOWNSTREAM)

    async def _finish(self, until_s: float) -> None:
        await self._changes.until(lambda: self._output.silence_heard_s >= until_s - 0.01, _HEARING_TIMEOUT_S)
        await sleep_in_steps(_SETTLING_S)
        while self._is_busy():  # noqa: ASYNC110 - time is a cause
            await asyncio.sleep(_SETTLING_S / 10)
        self._emit(Finished())

    def _is_busy(self) -> bool:
        return self._input.is_listening or self._progress.is_pending or self._output.is_busy
