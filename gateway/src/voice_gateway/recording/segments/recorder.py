"""What a session gives to its recording, as it happens: each call of the event loop appends a record, and is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from voice_gateway.recording.segments.format import (
    Downlink,
    Event,
    Head,
    Playback,
    Record,
    Uplink,
    Words,
    is_call_name,
    segment_stem,
)
from voice_gateway.recording.segments.writer import Segment, SegmentWriter
from voicelink.wire import (
    AudioFrame,
    Bye,
    ClientMessage,
    Drain,
    Dtmf,
    Flush,
    Heard,
    Latency,
    Measured,
    Played,
    Resume,
    ServerMessage,
    Speech,
    Text,
    ToolCall,
    ToolCancel,
    ToolResult,
    Transcript,
    Transfer,
)


@dataclass(frozen=True, slots=True)
class RecordingPolicy:
    """What is kept of a call. Where consent is asked for (`is_consent_asked`), nothing of sound and words until given.

    An acknowledgement waits for the disk for `patience_s` at most.
    """

    has_audio: bool = False
    has_words: bool = False
    has_addresses: bool = False
    is_consent_asked: bool = True
    patience_s: float = 1.0


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """Whose call it is; `consent` is what the session record says, `None` where the agent has said nothing."""

    session_id: str
    epoch: int
    agent: str
    subject: str | None
    transport: str
    peer: str
    consent: bool | None = None
    is_taken_over: bool = False


@dataclass(frozen=True, slots=True)
class Recordings:
    """The recordings that one worker makes, in `folder`. `clock` gives seconds since 1970.

    `on_closed` is called with the folder and stem of each segment that is complete, `on_withdrawn` with the session ID
    of each call whose caller withdrew consent; both on the writer's thread.
    """

    worker: str
    folder: Path
    policy: RecordingPolicy
    writer: SegmentWriter
    clock: Callable[[], float]
    on_closed: Callable[[Path, str], None] = lambda folder, stem: None
    on_withdrawn: Callable[[str], None] = lambda session_id: None

    def begin(self, call: RecordedCall, now: float) -> CallRecorder | None:
        """Begin to record what this worker sees of a call, at `now` on the event loop's clock."""
        if not is_call_name(call.session_id):
            return None
        policy, wall_us = self.policy, round(self.clock() * 1e6)
        stem = segment_stem(wall_us, call.epoch, self.worker)
        head = Head(
            at_us=0,
            session_id=call.session_id,
            worker=self.worker,
            epoch=call.epoch,
            wall_us=wall_us,
            agent=call.agent,
            subject=call.subject,
            transport=call.transport,
            peer=call.peer if policy.has_addresses else "",
            has_audio=policy.has_audio,
            has_words=policy.has_words,
        )
        segment = self.writer.open(self.folder / call.session_id, stem, head)

        def on_withdrawn() -> None:
            self.on_withdrawn(call.session_id)

        recorder = CallRecorder(
            segment,
            policy,
            now,
            consent=call.consent,
            on_closed=lambda: self.on_closed(segment.folder, stem),
            on_withdrawn=on_withdrawn,
        )
        recorder.event("taken_over" if call.is_taken_over else "began", now, transport=call.transport)
        if call.consent is False:  # the worker before may have ended before it had deleted what it kept
            segment.discard(on_withdrawn)
        return recorder


class CallRecorder:
    """One worker's recording of one call; `now` is the event loop's clock, and no method blocks or raises."""

    def __init__(
        self,
        segment: Segment,
        policy: RecordingPolicy,
        now: float,
        *,
        consent: bool | None,
        on_closed: Callable[[], None],
        on_withdrawn: Callable[[], None],
    ) -> None:
        self._segment = segment
        self._policy = policy
        self._began = now
        self._consent = consent
        self._on_closed = on_closed
        self._on_withdrawn = on_withdrawn
        self._is_late = False
        self._update()

    def consented(self, is_given: bool | None, now: float) -> None:
        """The agent says whether the caller consents; what was recorded is deleted where it does not."""
        if is_given is None or is_given is self._consent:
            return
        self._consent = is_given
        self._update()
        self.event("consent", now, is_given=is_given)
        if not is_given:
            self._segment.discard(self._on_withdrawn)

    def uplink(self, frame: AudioFrame, now: float) -> None:
        """A frame of the caller has arrived, for the first time at this worker."""
        if self._has_audio:
            payload = frame.payload
            record = Uplink(self._us(now), frame.sequence, frame.timestamp, frame.codec, payload)
            self._segment.append(record, len(payload))

    def downlink(self, utterance_id: int, frames: Sequence[AudioFrame], now: float) -> None:
        """Frames of an answer are sent."""
        if not self._has_audio:
            return
        at_us = self._us(now)
        for frame in frames:
            record = Downlink(at_us, frame.sequence, frame.timestamp, frame.codec, frame.payload, utterance_id)
            self._segment.append(record, len(frame.payload), is_urgent=True)

    def received(self, message: ClientMessage, now: float) -> None:
        """The caller's side says something."""
        match message:
            case Played(utterance_id=utterance_id, position_ms=position_ms, is_complete=is_complete):
                timestamp = message.timestamp
                self._append(Playback(self._us(now), utterance_id, position_ms, is_complete, timestamp=timestamp))
            case Resume():
                self._append(Playback(self._us(now), message.next_utterance_id, message.position_ms, is_resume=True))
                self.event("resumed", now, newest=message.utterance_id, next=message.next_utterance_id)
            case Dtmf(digit=digit):
                self.event("digit", now)
                self._words("digit", now, digit=digit)
            case Text(text=text):
                self.event("typed", now)
                self._words("typed", now, text=text)
            case ToolResult(call_id=call_id, result=result, error=error):
                self._words("tool_result", now, call_id=call_id, result=result, error=error)
            case Measured():
                figures = {name: getattr(message, f"{name}_ms") for name in _MEASURED}
                self.event("measured", now, turn=message.turn, **_known(figures))
            case Bye(frames=frames):
                self.event("bye", now, frames=frames)

    def sent(self, message: ServerMessage, now: float) -> None:
        """This side says something."""
        match message:
            case Heard(sequence=sequence):
                self.event("acked", now, sequence=sequence)
            case Transcript(is_final=True):
                self.event("transcript", now, turn=message.turn, role=message.role)
                self._words("transcript", now, turn=message.turn, role=message.role, text=message.text)
            case Speech():
                facts = {"utterance": message.utterance_id, "turn": message.turn, "is_again": message.is_again}
                self.event("speech", now, **facts)
            case Flush():
                self.event("interrupted", now, utterance=message.utterance_id, sequence=message.sequence)
            case Latency():
                figures = {name: getattr(message, f"{name}_ms") for name in _LATENCIES}
                self.event("latency", now, turn=message.turn, **_known(figures))
            case ToolCall(call_id=call_id, name=name, arguments=arguments):
                self.event("tool_call", now, call_id=call_id, name=name)
                self._words("tool_call", now, call_id=call_id, name=name, arguments=dict(arguments))
            case ToolCancel(call_id=call_id):
                self.event("tool_cancel", now, call_id=call_id)
            case Transfer(target=target):
                self.event("transfer", now)
                self._words("transfer", now, target=target)
            case Drain():
                self.event("draining", now, deadline_s=message.deadline_s)

    def moved(self, peer: str, gap_ms: float, now: float) -> None:
        """The caller's address changed."""
        shown = {"peer": peer} if self._policy.has_addresses else {}
        self.event("migrated", now, gap_ms=round(gap_ms, 1), **shown)

    def event(self, kind: str, now: float, **facts: Any) -> None:
        """Something else happened."""
        self._append(Event(self._us(now), kind, facts))

    async def flushed(self) -> None:
        """Return once what was recorded by now is in its files, or cannot be for now: what follows may be acknowledged.

        While the disk is slow this waits once, and no more until it has caught up: the call goes on.
        """
        if self._is_late:
            return
        self._is_late = not await self._segment.flush(self._policy.patience_s)
        if self._is_late:
            self._segment.when_written(self._caught_up)

    def close(self, code: str, now: float, *, is_over: bool) -> None:
        """This worker's part of the call is over; the call itself, if it `is_over`."""
        self.event("ended" if is_over else "left", now, code=code)
        self._segment.close(self._on_closed)

    def _caught_up(self) -> None:
        self._is_late = False

    def _update(self) -> None:
        may_keep = self._consent is not False and (self._consent is True or not self._policy.is_consent_asked)
        self._has_audio = self._policy.has_audio and may_keep
        self._has_words = self._policy.has_words and may_keep

    def _words(self, kind: str, now: float, **facts: Any) -> None:
        if self._has_words:
            self._append(Words(self._us(now), kind, facts))

    def _append(self, record: Record) -> None:
        self._segment.append(record)

    def _us(self, now: float) -> int:
        return round((now - self._began) * 1e6)


def _known(figures: dict[str, float | None]) -> dict[str, float]:
    return {f"{name}_ms": value for name, value in figures.items() if value is not None}


_LATENCIES: Final = ("endpointing", "stt", "llm", "tts")
_MEASURED: Final = ("response", "uplink_age", "playout", "barge_in", "resume_gap")
