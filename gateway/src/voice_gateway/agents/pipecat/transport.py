"""The transport of one call: Pipecat's input and output over a voice session.

Speech leaves as soon as it is made, faster than it is played. Pipecat's own queue of audio then only follows what the
caller plays: the bot speaks, in Pipecat's sense, while the caller hears it, and words enter the context when they are
heard.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    AggregatedTextFrame,
    EndFrame,
    Frame,
    FunctionCallCancelFrame,
    FunctionCallResultFrame,
    FunctionCallsStartedFrame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InputTransportMessageFrame,
    InterruptionFrame,
    LLMAssistantPushAggregationFrame,
    LLMContextAssistantTurnFrame,
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
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregator
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import BaseTransport, TransportParams

from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.pipecat.playout import Playout
from voicelink.audio.resample import Resampler

_SAMPLE_BYTES: Final = 2
_AHEAD_S: Final = 0.02
"""The queue that follows the playback may be so far ahead of it."""
_WRITE_TIMEOUT_S: Final = 7 * 86_400.0
"""A write that exceeds its timeout makes Pipecat's output unusable for good; a caller may be away for long."""
_CUT_TIMEOUT_S: Final = 1.0
"""How long an interruption waits for the session to say what was played."""
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

_Timed = tuple[Frame, FrameDirection]


class TransportEvents(Protocol):
    """What the transport tells the conversation."""

    async def ready(self, context: LLMContext | None) -> None: ...
    def interrupting(self, *, is_user: bool) -> None: ...
    def stopped_speaking(self, sequence: int) -> None: ...
    def understood(self, text: str, through_sequence: int) -> None: ...
    def silent(self, through_sequence: int) -> None: ...
    def reply(self, text: str) -> None: ...
    def reply_audio(self, pcm: bytes) -> None: ...
    def reply_ended(self) -> None: ...
    def announced(self, text: str) -> None: ...
    def answer_made(self) -> None: ...
    def answer_in_context(self) -> None: ...
    def answer_cut(self) -> None: ...
    def message(self, message: Any) -> None: ...
    def is_attached(self) -> bool: ...


class _PlayedTextFrame(TTSTextFrame, SystemFrame):
    """Words that were heard. As a system frame they are not dropped by the interruption that follows them."""


@dataclass
class _CallerAudioFrame(InputAudioRawFrame):
    """Once it reaches the output, the pipeline has heard it: those without a sequence are silence behind its audio."""

    sequence: int | None = field(default=None, init=False)


class VoiceTransport(BaseTransport):
    """`transport.input()` and `transport.output()` of one call's pipeline.

    Events, as of Pipecat's other transports: `on_client_connected` once for each new call, `on_client_disconnected` at
    its end; `on_client_resumed` where another worker goes on with the call, or the caller was cut off and lost words.
    """

    def __init__(self, events: TransportEvents, input_rate_hz: int, output_rate_hz: int) -> None:
        super().__init__()
        self.params = TransportParams(
            audio_in_enabled=True,
            audio_in_sample_rate=input_rate_hz,
            audio_out_enabled=True,
            audio_out_sample_rate=output_rate_hz,
            audio_out_10ms_chunks=2,
            audio_out_end_silence_secs=0,
            audio_out_write_timeout_secs=_WRITE_TIMEOUT_S,
        )
        self._input = VoiceInput(events, self.params, input_rate_hz)
        self._output = VoiceOutput(events, self.params, output_rate_hz, self._input)
        for event in ("on_client_connected", "on_client_resumed", "on_client_disconnected"):
            self._register_event_handler(event)

    def input(self) -> VoiceInput:
        return self._input

    def output(self) -> VoiceOutput:
        return self._output

    async def happened(self, event: str) -> None:
        """Call the handlers of an event; its second argument, the client, is the transport itself."""
        await self._call_event_handler(event, self)


class VoiceInput(BaseInputTransport):
    """Frames of the caller in, and what of them the pipeline has understood."""

    def __init__(self, events: TransportEvents, params: TransportParams, input_rate_hz: int) -> None:
        super().__init__(params)
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._silence = bytes(input_rate_hz // _FRAMES_PER_S * _SAMPLE_BYTES)
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
            frame = _CallerAudioFrame(audio=pcm, sample_rate=self.sample_rate, num_channels=1)
            frame.sequence = sequence
            self._in_flight += 1
            await self.push_audio_frame(frame)
            while self._in_flight > _MOST_IN_FLIGHT:
                self._passed.clear()
                try:
                    await asyncio.wait_for(self._passed.wait(), _PASSING_TIMEOUT_S)
                except TimeoutError:
                    self._in_flight = 0

    def heard(self, frame: _CallerAudioFrame) -> None:
        """The pipeline has heard this frame: voice in it has been noticed."""
        self._in_flight = max(0, self._in_flight - 1)
        self._passed.set()
        if frame.sequence is not None:
            self._sequence = frame.sequence
            self._heard_s += len(frame.audio) / _SAMPLE_BYTES / frame.sample_rate
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
            self._events.silent(through)

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
                self._events.stopped_speaking(self._through)
            case LLMContextUserTurnFrame():
                self.understood(frame)
            case LLMContextAssistantTurnFrame():
                self._events.answer_in_context()

    def understood(self, frame: LLMContextUserTurnFrame) -> None:
        """Take one of the two copies of a turn, whichever is first: one comes upstream, one with the answer."""
        if frame.id == self._other_copy:
            return
        self._other_copy = frame.broadcast_sibling_id
        self._words_due_until = None
        self._recent = deque(each for each in self._recent if each[0] > self._through)
        self._events.understood(frame.text, self._through)

    def _stopped(self) -> None:
        self._through = self._sequence
        self._words_due_until = self._loop.time() + _TEXT_TIMEOUT_S

    async def press(self, digit: str) -> None:
        """Push a key of the telephone into the pipeline."""
        await self.push_frame(InputDTMFFrame(button=KeypadEntry(digit)))

    async def take(self, message: Mapping[str, Any]) -> None:
        """Push a message of the client: RTVI, or the application's own."""
        await self.broadcast_frame(InputTransportMessageFrame, message=dict(message))


class VoiceOutput(BaseOutputTransport):
    """What the pipeline says: out at once, and followed as the caller plays it.

    Frames of text wait in `playout` until what they belong to is played. An interruption takes the position from the
    session, pushes the words that were heard, and drops the rest.
    """

    def __init__(
        self,
        events: TransportEvents,
        params: TransportParams,
        rate_hz: int,
        voice_input: VoiceInput,
    ) -> None:
        super().__init__(params)
        self._input = voice_input
        self._events = events
        self._rate_hz = rate_hz
        self.playout: Playout[_Timed] = Playout(rate_hz * _SAMPLE_BYTES)
        self.changes = Changes()
        self.cut_text: str | None = None
        """What was played of the reply that was cut off last, where the session has said so."""
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
        return bool(self._calls) or self._is_response or self._follows_up or self.playout.is_making

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._following = self.create_task(self._follow())
        self.create_task(self._events.ready(_context_of(self)))

    async def stop(self, frame: EndFrame) -> None:
        """Return once all was played."""
        self._end_reply()
        await super().stop(frame)
        await self.changes.until(lambda: not self.playout.is_outstanding)
        await self._push_due()
        await self._stop_following()

    async def cleanup(self) -> None:
        await self._stop_following()
        await super().cleanup()

    async def send_message(self, frame: OutputTransportMessageFrame | OutputTransportMessageUrgentFrame) -> None:
        self._events.message(frame.message)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Return when the caller has played so far; the audio itself left in `process_frame`."""
        playout = self.playout
        self._queued_s += len(frame.audio) / _SAMPLE_BYTES / frame.sample_rate
        await self.changes.until(lambda: min(self._queued_s, playout.made_s) - playout.played_s <= _AHEAD_S)
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
                self._events.announced(frame.text)
        self.playout.schedule(self._position(frame), (frame, direction))
        if isinstance(frame, LLMFullResponseEndFrame | LLMAssistantPushAggregationFrame) and not (
            self._calls or self._follows_up
        ):
            self._events.answer_made()
        self.changes.notify()

    def _position(self, frame: Frame) -> float:
        """Where in the audio a frame belongs: words have a time since their context began, others follow all so far."""
        if not frame.pts or not isinstance(frame, TTSTextFrame):
            return 0.0 if frame.pts else self.playout.made_s
        clock, at_s = self._anchor(frame.context_id)
        self._last_pts = max(self._last_pts, frame.pts)
        since: int = max(0, frame.pts - clock)
        return at_s + since / 1e9

    def _anchor(self, context_id: str | None) -> tuple[int, float]:
        """Return the clock's time and the position at which a context of speech begins; its words count from there."""
        now: int = max(self.get_clock().get_time(), self._last_pts)
        return self._anchors.setdefault(context_id, (now, self.playout.made_s))

    def _send(self, frame: OutputAudioRawFrame) -> None:
        playout = self.playout
        if isinstance(frame, TTSAudioRawFrame):
            self._anchor(frame.context_id)
        if self._announced or not playout.is_making:
            text = " ".join(self._announced)
            self._announced.clear()
            self._end_reply()
            playout.begin(text)
            self._events.reply(text)
        pcm = self._converted(frame)
        if pcm:
            playout.add(pcm)
            self._events.reply_audio(pcm)

    def _converted(self, frame: OutputAudioRawFrame) -> bytes:
        if frame.sample_rate == self._rate_hz:
            return bytes(frame.audio)
        if self._resampler is None or self._resampler[0] != frame.sample_rate:
            self._resampler = (frame.sample_rate, Resampler(frame.sample_rate, self._rate_hz))
        return bytes(self._resampler[1].push(frame.audio))

    def _end_reply(self) -> None:
        if self.playout.end():
            self._events.reply_ended()

    async def _interrupt(self) -> None:
        is_speaking = self.playout.is_outstanding
        self.cut_text = None
        is_user, self._is_users = self._is_users, False
        self._events.interrupting(is_user=is_user)
        if is_speaking and self._events.is_attached():
            await self.changes.until(lambda: not self.playout.is_outstanding, _CUT_TIMEOUT_S)
        for frame, direction in self.playout.due():
            await self._push_played(frame, direction)
        unplayed = self.playout.cut()
        if self.cut_text:
            await self._push_part(unplayed, self.cut_text)
        self._queued_s = self.playout.made_s
        self._anchors.clear()
        self._last_pts = 0
        self._announced.clear()
        self._is_response = self._follows_up = False
        self._calls.clear()
        self._events.answer_cut()
        self.changes.notify()

    async def _push_played(self, frame: Frame, direction: FrameDirection) -> None:
        if isinstance(frame, TTSTextFrame):
            frame = _as_played(frame, frame.text)
        if isinstance(frame, SystemFrame):
            await self.push_frame(frame, direction)

    async def _push_part(self, unplayed: list[_Timed], text: str) -> None:
        """Of a sentence without times of its words, push the words that the session says were played."""
        for frame, direction in unplayed:
            if isinstance(frame, TTSTextFrame):
                if not frame.pts:
                    await self.push_frame(_as_played(frame, text), direction)
                return

    def _note(self, frame: Frame) -> None:
        match frame:
            case LLMContextUserTurnFrame():
                self._input.understood(frame)
            case _CallerAudioFrame():
                self._input.heard(frame)
                if frame.sequence is None:
                    self.silence_heard_s += len(frame.audio) / _SAMPLE_BYTES / frame.sample_rate
                    self.changes.notify()
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
            await self.changes.until(lambda: self.playout.has_due)
            await self._push_due()

    async def _push_due(self) -> None:
        for frame, direction in self.playout.due():
            if isinstance(frame, TTSTextFrame):
                await self.push_frame(_as_played(frame, frame.text), direction)
            else:
                await self.push_frame(frame, direction)

    async def _stop_following(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            await self.cancel_task(following)


def _as_played(frame: TTSTextFrame, text: str) -> _PlayedTextFrame:
    """Return the frame as one that overtakes nothing and is not dropped."""
    heard = _PlayedTextFrame(text=text, text_type=frame.text_type, segment_id=frame.segment_id)
    heard.context_id = frame.context_id
    heard.append_to_context = frame.append_to_context
    heard.includes_inter_frame_spaces = frame.includes_inter_frame_spaces
    heard.will_be_spoken = frame.will_be_spoken
    if text == frame.text:
        heard.raw_text = frame.raw_text
    return heard


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
