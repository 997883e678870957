"""The output of one call's pipeline: audio out at once, and followed as the caller plays it.

Speech leaves as soon as it is made, faster than it is played. Pipecat's own queue of audio then only follows what the
caller plays: the bot speaks, in Pipecat's sense, while the caller hears it, and words enter the context when they are
heard.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from pipecat.frames.frames import (
    AggregatedTextFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    LLMAssistantPushAggregationFrame,
    LLMContextUserTurnFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
    StartFrame,
    SystemFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams

from voice_gateway.agents.pipecat.transport.events import TransportParts
from voice_gateway.agents.pipecat.transport.frames import SAMPLE_BYTES, CallerAudioFrame, TimedFrame, as_played
from voice_gateway.agents.pipecat.transport.input import VoiceInput
from voice_gateway.agents.pipecat.transport.output.answer_in_progress import AnswerInProgress
from voice_gateway.agents.pipecat.transport.output.pipeline_context import context_of
from voice_gateway.agents.pipecat.transport.output.text_positions import TextPositions
from voicelink.audio.resample import Resampler

_AHEAD_S: Final = 0.02
"""The queue that follows the playback may be so far ahead of it."""
_CUT_TIMEOUT_S: Final = 1.0
"""How long an interruption waits for the session to say what was played."""


class VoiceOutput(BaseOutputTransport):
    """What the pipeline says: out at once, and followed as the caller plays it.

    Frames of text wait in `timeline` until what they belong to is played. An interruption takes the position from the
    session, pushes the words that were heard, and drops the rest.
    """

    def __init__(
        self,
        parts: TransportParts,
        params: TransportParams,
        rate_hz: int,
        voice_input: VoiceInput,
    ) -> None:
        super().__init__(params)
        self._input = voice_input
        self._parts = parts
        self._turns, self._replies = parts.turns, parts.replies
        self._timeline, self._changes = parts.timeline, parts.changes
        self._rate_hz = rate_hz
        self.silence_heard_s = 0.0
        """How much of the silence of `hear_silence` has come through the pipeline."""
        self._queued_s = 0.0
        self._announced: deque[str] = deque()
        self._positions = TextPositions(parts.timeline, lambda: self.get_clock().get_time())
        self._answer = AnswerInProgress()
        self._resampler: tuple[int, Resampler] | None = None
        self._following: asyncio.Task[None] | None = None
        self._is_users = False

    @property
    def is_busy(self) -> bool:
        """Whether the pipeline makes an answer, or a tool runs."""
        return not self._answer.is_made or self._timeline.is_making

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._following = self.create_task(self._follow())
        self.create_task(self._parts.on_ready(context_of(self)))

    async def stop(self, frame: EndFrame) -> None:
        """Return once all was played."""
        self._end_reply()
        await super().stop(frame)
        await self._changes.until(lambda: not self._timeline.is_outstanding)
        await self._push_due()
        await self._stop_following()

    async def cleanup(self) -> None:
        await self._stop_following()
        await super().cleanup()

    async def send_message(self, frame: OutputTransportMessageFrame | OutputTransportMessageUrgentFrame) -> None:
        self._parts.on_message(frame.message)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Return when the caller has played so far; the audio itself left in `process_frame`."""
        timeline = self._timeline
        self._queued_s += len(frame.audio) / SAMPLE_BYTES / frame.sample_rate
        await self._changes.until(lambda: min(self._queued_s, timeline.made_s) - timeline.played_s <= _AHEAD_S)
        return True

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        if direction is FrameDirection.DOWNSTREAM:
            if isinstance(frame, InterruptionFrame):
                await self._interrupt()
            elif self._is_timed(frame):
                self._schedule(frame, direction)
                return
            elif isinstance(frame, OutputAudioRawFrame):
                self._send(frame)
            elif isinstance(frame, TTSStoppedFrame):
                self._end_reply()
            self._note(frame)
        await super().process_frame(frame, direction)

    def _is_timed(self, frame: Frame) -> bool:
        if isinstance(frame, OutputAudioRawFrame | TTSStoppedFrame | SystemFrame):
            return False
        is_text = isinstance(
            frame,
            AggregatedTextFrame
            | LLMFullResponseStartFrame
            | LLMFullResponseEndFrame
            | LLMAssistantPushAggregationFrame,
        )
        return is_text or bool(frame.pts)

    def _schedule(self, frame: Frame, direction: FrameDirection) -> None:
        self._answer.note(frame)
        if isinstance(frame, AggregatedTextFrame) and not isinstance(frame, TTSTextFrame) and frame.will_be_spoken:
            self._announced.append(frame.text)
            self._turns.announced(frame.text)
        self._timeline.schedule(self._positions.of(frame), (frame, direction))
        is_end = isinstance(frame, LLMFullResponseEndFrame | LLMAssistantPushAggregationFrame)
        if is_end and not self._answer.waits_for_tools:
            self._turns.answer_made()
        self._changes.notify()

    def _send(self, frame: OutputAudioRawFrame) -> None:
        timeline = self._timeline
        if isinstance(frame, TTSAudioRawFrame):
            self._positions.begin(frame.context_id)
        if self._announced or not timeline.is_making:
            text = " ".join(self._announced)
            self._announced.clear()
            self._end_reply()
            timeline.begin(text)
            self._replies.begin(text)
        pcm = self._converted(frame)
        if pcm:
            timeline.add(pcm)
            self._replies.audio(pcm)

    def _converted(self, frame: OutputAudioRawFrame) -> bytes:
        if frame.sample_rate == self._rate_hz:
            return bytes(frame.audio)
        if self._resampler is None or self._resampler[0] != frame.sample_rate:
            self._resampler = (frame.sample_rate, Resampler(frame.sample_rate, self._rate_hz))
        return bytes(self._resampler[1].push(frame.audio))

    def _end_reply(self) -> None:
        if self._timeline.end():
            self._replies.end()

    async def _interrupt(self) -> None:
        is_speaking = self._timeline.is_outstanding
        self._timeline.cut_text = None
        is_user, self._is_users = self._is_users, False
        self._replies.interrupting(is_user=is_user)
        if is_user:
            self._turns.started_speaking()
        if is_speaking and self._replies.is_attached():
            await self._changes.until(lambda: not self._timeline.is_outstanding, _CUT_TIMEOUT_S)
        for frame, direction in self._timeline.due():
            await self._push_played(frame, direction)
        unplayed = self._timeline.cut()
        if self._timeline.cut_text:
            await self._push_part(unplayed, self._timeline.cut_text)
        self._queued_s = self._timeline.made_s
        self._positions.cut()
        self._announced.clear()
        self._answer.cut()
        self._turns.answer_cut()
        self._changes.notify()

    async def _push_played(self, frame: Frame, direction: FrameDirection) -> None:
        if isinstance(frame, TTSTextFrame):
            frame = as_played(frame, frame.text)
        if isinstance(frame, SystemFrame):
            await self.push_frame(frame, direction)

    async def _push_part(self, unplayed: list[TimedFrame], text: str) -> None:
        """Of a sentence without times of its words, push the words that the session says were played."""
        for frame, direction in unplayed:
            if isinstance(frame, TTSTextFrame):
                if not frame.pts:
                    await self.push_frame(as_played(frame, text), direction)
                return

    def _note(self, frame: Frame) -> None:
        match frame:
            case LLMContextUserTurnFrame():
                self._input.understood(frame)
            case CallerAudioFrame():
                self._input.heard(frame)
                if frame.sequence is None:
                    self.silence_heard_s += len(frame.audio) / SAMPLE_BYTES / frame.sample_rate
                    self._changes.notify()
            case UserStartedSpeakingFrame():
                self._is_users = True
            case UserStoppedSpeakingFrame():
                self._is_users = False
            case _:
                self._answer.note(frame)

    async def _follow(self) -> None:
        """Push frames of text when what they belong to is played."""
        while True:
            await self._changes.until(lambda: self._timeline.has_due)
            await self._push_due()

    async def _push_due(self) -> None:
        for frame, direction in self._timeline.due():
            if isinstance(frame, TTSTextFrame):
                await self.push_frame(as_played(frame, frame.text), direction)
            else:
                await self.push_frame(frame, direction)

    async def _stop_following(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            await self.cancel_task(following)
