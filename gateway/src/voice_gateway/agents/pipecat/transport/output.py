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
    FunctionCallCancelFrame,
    FunctionCallResultFrame,
    FunctionCallsStartedFrame,
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
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregator
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams

from voice_gateway.agents.pipecat.transport.events import TransportParts
from voice_gateway.agents.pipecat.transport.frames import SAMPLE_BYTES, CallerAudioFrame, TimedFrame, as_played
from voice_gateway.agents.pipecat.transport.input import VoiceInput
from voicelink.audio.resample import Resampler

_AHEAD_S: Final = 0.02
"""The queue that follows the playback may be so far ahead of it."""
_CUT_TIMEOUT_S: Final = 1.0
"""How long an interruption waits for the session to say what was played."""


class VoiceOutput(BaseOutputTransport):
    """What the pipeline says: out at once, and followed as the caller plays it.

    Frames of text wait in `playout` until what they belong to is played. An interruption takes the position from the
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
        self._playout, self._changes = parts.playout, parts.changes
        self._rate_hz = rate_hz
        self.silence_heard_s = 0.0
        """How much of the silence of `hear_silence` has come through the pipeline."""
        self._queued_s = 0.0
        self._announced: deque[str] = deque()
        self._anchors: dict[str | None, tuple[int, float]] = {}
        self._last_pts = 0
        self._resampler: tuple[int, Resampler] | None = None
        self._following: asyncio.Task[None] | None = None
        self._calls: set[str] = set()
        self._is_response = self._follows_up = self._is_users = False

    @property
    def is_busy(self) -> bool:
        """Whether the pipeline makes an answer, or a tool runs."""
        return bool(self._calls) or self._is_response or self._follows_up or self._playout.is_making

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._following = self.create_task(self._follow())
        self.create_task(self._parts.on_ready(_context_of(self)))

    async def stop(self, frame: EndFrame) -> None:
        """Return once all was played."""
        self._end_reply()
        await super().stop(frame)
        await self._changes.until(lambda: not self._playout.is_outstanding)
        await self._push_due()
        await self._stop_following()

    async def cleanup(self) -> None:
        await self._stop_following()
        await super().cleanup()

    async def send_message(self, frame: OutputTransportMessageFrame | OutputTransportMessageUrgentFrame) -> None:
        self._parts.on_message(frame.message)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Return when the caller has played so far; the audio itself left in `process_frame`."""
        playout = self._playout
        self._queued_s += len(frame.audio) / SAMPLE_BYTES / frame.sample_rate
        await self._changes.until(lambda: min(self._queued_s, playout.made_s) - playout.played_s <= _AHEAD_S)
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
        match frame:
            case LLMFullResponseStartFrame():
                self._is_response, self._follows_up = True, False
            case LLMFullResponseEndFrame():
                self._is_response = False
            case TTSTextFrame():
                pass
            case AggregatedTextFrame() if frame.will_be_spoken:
                self._announced.append(frame.text)
                self._turns.announced(frame.text)
        self._playout.schedule(self._position(frame), (frame, direction))
        if isinstance(frame, LLMFullResponseEndFrame | LLMAssistantPushAggregationFrame) and not (
            self._calls or self._follows_up
        ):
            self._turns.answer_made()
        self._changes.notify()

    def _position(self, frame: Frame) -> float:
        """Where in the audio a frame belongs: words have a time since their context began, others follow all so far."""
        if not frame.pts or not isinstance(frame, TTSTextFrame):
            return 0.0 if frame.pts else self._playout.made_s
        clock, at_s = self._anchor(frame.context_id)
        self._last_pts = max(self._last_pts, frame.pts)
        since: int = max(0, frame.pts - clock)
        return at_s + since / 1e9

    def _anchor(self, context_id: str | None) -> tuple[int, float]:
        """Return the clock's time and the position at which a context of speech begins; its words count from there."""
        now: int = max(self.get_clock().get_time(), self._last_pts)
        return self._anchors.setdefault(context_id, (now, self._playout.made_s))

    def _send(self, frame: OutputAudioRawFrame) -> None:
        playout = self._playout
        if isinstance(frame, TTSAudioRawFrame):
            self._anchor(frame.context_id)
        if self._announced or not playout.is_making:
            text = " ".join(self._announced)
            self._announced.clear()
            self._end_reply()
            playout.begin(text)
            self._replies.begin(text)
        pcm = self._converted(frame)
        if pcm:
            playout.add(pcm)
            self._replies.audio(pcm)

    def _converted(self, frame: OutputAudioRawFrame) -> bytes:
        if frame.sample_rate == self._rate_hz:
            return bytes(frame.audio)
        if self._resampler is None or self._resampler[0] != frame.sample_rate:
            self._resampler = (frame.sample_rate, Resampler(frame.sample_rate, self._rate_hz))
        return bytes(self._resampler[1].push(frame.audio))

    def _end_reply(self) -> None:
        if self._playout.end():
            self._replies.end()

    async def _interrupt(self) -> None:
        is_speaking = self._playout.is_outstanding
        self._playout.cut_text = None
        is_user, self._is_users = self._is_users, False
        self._replies.interrupting(is_user=is_user)
        if is_user:
            self._turns.started_speaking()
        if is_speaking and self._replies.is_attached():
            await self._changes.until(lambda: not self._playout.is_outstanding, _CUT_TIMEOUT_S)
        for frame, direction in self._playout.due():
            await self._push_played(frame, direction)
        unplayed = self._playout.cut()
        if self._playout.cut_text:
            await self._push_part(unplayed, self._playout.cut_text)
        self._queued_s = self._playout.made_s
        self._anchors.clear()
        self._last_pts = 0
        self._announced.clear()
        self._is_response = self._follows_up = False
        self._calls.clear()
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
            case FunctionCallsStartedFrame():
                self._calls.update(each.tool_call_id for each in frame.function_calls)
            case FunctionCallResultFrame():
                is_final = frame.properties is None or frame.properties.is_final
                if is_final:
                    self._calls.discard(frame.tool_call_id)
                    self._follows_up = frame.properties is None or frame.properties.run_llm is not False
            case FunctionCallCancelFrame():
                self._calls.discard(frame.tool_call_id)

    async def _follow(self) -> None:
        """Push frames of text when what they belong to is played."""
        while True:
            await self._changes.until(lambda: self._playout.has_due)
            await self._push_due()

    async def _push_due(self) -> None:
        for frame, direction in self._playout.due():
            if isinstance(frame, TTSTextFrame):
                await self.push_frame(as_played(frame, frame.text), direction)
            else:
                await self.push_frame(frame, direction)

    async def _stop_following(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            await self.cancel_task(following)


def _context_of(processor: FrameProcessor) -> LLMContext | None:
    """Find the context that the aggregators of the processor's pipeline share."""
    each: FrameProcessor | None = processor
    while each is not None and each.previous is not None:
        each = each.previous
    while each is not None:
        for found in (each, *_within(each)):
            if isinstance(found, LLMContextAggregator):
                return found.context
        each = each.next
    return None


def _within(processor: FrameProcessor) -> list[FrameProcessor]:
    inner = list(processor.processors)
    return [*inner, *(each for child in inner for each in _within(child))]
