"""A session's conversation, held by a pipeline: hands each event to the part of the call that it concerns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pipecat.processors.aggregators.llm_context import LLMContext

from voice_gateway.agent.apology import offline_apology
from voice_gateway.agent.base import (
    AppMessage,
    Conversation,
    Emit,
    PlaybackFinished,
    SendAppMessage,
    SessionView,
    UserAudio,
    UserText,
)
from voice_gateway.agent.call.progress.tools import plain
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agent.last_reply import LastReply
from voice_gateway.agents.pipecat.call.call import PipecatCall
from voice_gateway.agents.pipecat.call.feed import PipelineFeed
from voice_gateway.agents.pipecat.call.opening import PipelineOpening
from voice_gateway.agents.pipecat.call.progress import PipelineProgress
from voice_gateway.agents.pipecat.call.replies import PipelineReplies
from voice_gateway.agents.pipecat.call.turns import PipelineTurns
from voice_gateway.agents.pipecat.run import PipelineRun, Run
from voice_gateway.agents.pipecat.transport.events import TransportParts
from voice_gateway.agents.pipecat.transport.frames import SAMPLE_BYTES, TimedFrame
from voice_gateway.agents.pipecat.transport.output.playback_timeline import PlaybackTimeline
from voice_gateway.agents.pipecat.transport.transport import VoiceTransport


class PipecatConversation(Conversation):
    """Runs the pipeline from `opened` until `close`.

    Another worker restores the context, and then answers a pending turn again, or says what of a whole answer was not
    played.
    """

    def __init__(
        self,
        run: Run,
        rates_hz: tuple[int, int],
        emit: Emit,
        state: Mapping[str, Any] | None,
        on_begin: Callable[[asyncio.Task[None], PipecatConversation], None],
        apology: str = "",
    ) -> None:
        super().__init__(emit)
        self._run = run
        self._on_begin = on_begin
        changes = Changes()
        timeline: PlaybackTimeline[TimedFrame] = PlaybackTimeline(rates_hz[1] * SAMPLE_BYTES)
        self._progress = PipelineProgress(self.emit, changes, state)
        self._replies = PipelineReplies(self.emit, timeline, changes)
        self._last_reply = LastReply(self.emit, rates_hz[1] * SAMPLE_BYTES)
        turns = PipelineTurns(self.emit, self._progress, changes)
        parts = TransportParts(turns, self._replies, timeline, changes, self._ready, self._message)
        self._transport = VoiceTransport(parts, *rates_hz)
        self._pipeline = PipelineRun(
            self.emit, self._transport, self._last_reply, partial(offline_apology, apology, rates_hz[1])
        )
        spawn = self._pipeline.spawn
        self._opening = PipelineOpening(self._transport, self._progress, self._replies, spawn)
        self._feed = PipelineFeed(self.emit, self._transport, turns, self._progress, changes, spawn)

    def opened(self, session: SessionView) -> None:
        """Restore what was saved, and start the pipeline."""
        self._replies.is_attached = session.is_attached
        self._progress.restore(session)
        call = PipecatCall(self._progress, self._feed)
        task = self._pipeline.begin(self._run, call, session.session_id)
        self._on_begin(task, self)

    def saved(self, checkpoint: int) -> None:
        self._progress.saved(checkpoint)

    def greet(self) -> None:
        self._opening.greet()

    def greet_again(self) -> None:
        self._opening.ask_again()

    def hear(self, audio: UserAudio) -> None:
        self._feed.audio(audio)

    def pressed(self, digit: str) -> None:
        self._feed.digit(digit)

    def text_received(self, text: UserText) -> None:
        self._feed.text(text)

    def app_message_received(self, message: AppMessage) -> None:
        self._feed.message(message)

    def played(self, played_ms: int) -> None:
        self._replies.played(played_ms)

    def playback_finished(self, playback: PlaybackFinished) -> None:
        self._last_reply.playback_finished(playback)
        self._replies.playback_finished(playback)

    def say_again(self, text: str) -> None:
        """Emit the audio of these replies again; where it went with another worker, synthesise them."""
        if not self._replies.say_again(text):
            self._opening.say_again(text)

    def finish(self) -> None:
        self._feed.end()

    def close(self) -> None:
        """Cancel the pipeline."""
        super().close()
        self._pipeline.close()

    async def _ready(self, context: LLMContext | None) -> None:
        await self._opening.ready(context)

    def _message(self, message: Any) -> None:
        self.emit(SendAppMessage(plain(message)))
