"""What a pipeline does first: greet, answer a turn that is pending, or say again what was lost."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from pipecat.frames.frames import Frame, LLMRunFrame, TTSSpeakFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection

from voice_gateway.agents.pipecat.call.progress import PipelineProgress
from voice_gateway.agents.pipecat.call.replies import PipelineReplies
from voice_gateway.agents.pipecat.transport.transport import VoiceTransport


class PipelineOpening:
    """Keeps what the session asks for until the pipeline has started. `spawn` runs a coroutine beside the pipeline."""

    def __init__(
        self,
        transport: VoiceTransport,
        progress: PipelineProgress,
        replies: PipelineReplies,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._transport = transport
        self._progress = progress
        self._replies = replies
        self._spawn = spawn
        self._is_ready = self._greets = self._asks = False

    def greet(self) -> None:
        """Let the pipeline know of its client, as soon as it has started."""
        self._greets = True
        self._begin_if_ready()

    def ask_again(self) -> None:
        """As `on_client_resumed`: what the user said last is lost."""
        self._asks = True
        self._begin_if_ready()

    def say_again(self, text: str) -> None:
        """Synthesise the text, at the latest when the pipeline has started."""
        if self._is_ready:
            self._spawn(self._speak(text))

    async def ready(self, context: LLMContext | None) -> None:
        """The pipeline has started: give it its context, and what it is to do first."""
        progress, wanted_again = self._progress, self._replies.wanted_again
        progress.fill(context, is_answer_said=wanted_again is not None)
        self._is_ready = True
        if progress.is_pending and progress.is_restored:
            await self._queue(LLMRunFrame())
        elif wanted_again is not None and progress.restored_answer:
            await self._speak(wanted_again)
        elif wanted_again is not None or not progress.is_restored:
            self._greets = True
        if (progress.is_pending and progress.is_restored) or progress.restored_answer:
            self._greets = False
        if progress.is_restored:
            await self._transport.happened("on_client_resumed")
        self._begin_if_ready()

    def _begin_if_ready(self) -> None:
        if not self._is_ready:
            return
        greets, self._greets = self._greets, False
        asks, self._asks = self._asks, False
        if greets:
            self._spawn(self._transport.happened("on_client_connected"))
        elif asks:
            self._spawn(self._transport.happened("on_client_resumed"))

    async def _speak(self, text: str) -> None:
        await self._queue(TTSSpeakFrame(text, append_to_context=True))

    async def _queue(self, frame: Frame) -> None:
        await self._transport.input().queue_frame(frame, FrameDirection.DOWNSTREAM)
