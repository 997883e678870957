"""A voice session's rules, sans-IO: what callers and agents may do, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.agent.base import (
    AgentEvent,
    AgentFailed,
    Finished,
    PartialTranscript,
    Reply,
    ReplyAudio,
    ReplyEnded,
    Silence,
    SpeechStarted,
    Understood,
)
from gateway.session.effects import (
    Close,
    Converse,
    Effect,
    EndSpeech,
    Finish,
    Hear,
    Interrupt,
    Press,
    ResetSpeech,
    Save,
    Send,
    Speak,
)
from gateway.session.ledger import Ledger
from gateway.session.replies import Replies
from gateway.session.state import SessionInput, SessionState, next_state
from gateway.session.uplink import UplinkStatistics
from gateway.wire import (
    PROTOCOL_VERSION,
    AudioFrame,
    Bye,
    ClientMessage,
    CloseCode,
    Codec,
    Drain,
    Dtmf,
    Error,
    Flush,
    Heard,
    Malformed,
    Ping,
    Played,
    Pong,
    Ready,
    Speech,
    Start,
    State,
    Transcript,
)

NOTHING: Final[tuple[Effect, ...]] = ()


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long and how much a session waits before it gives up.

    `unheard_frames` bounds what the caller must keep for a resume (12 000 frames of 20 ms are four minutes);
    `early_frames` bounds what is kept of audio that overtook `start`.
    """

    start_timeout_s: float = 10.0
    idle_timeout_s: float = 30.0
    finish_timeout_s: float = 30.0
    playout_grace_s: float = 3.0
    silence_interval_s: float = 2.0
    save_retry_s: float = 1.0
    early_frames: int = 250
    unheard_frames: int = 12_000


@dataclass(frozen=True, slots=True)
class Identity:
    """What a session says of itself and of the worker and the agent that serve it."""

    session_id: str
    worker: str
    agent: str
    output_rate_hz: int


class Session:
    """Feed it what happens, with the time; carry out the effects that each call returns, in their order.

    Call `tick` at `deadline`. After the effect `Close` no call returns effects any more.
    """

    def __init__(self, identity: Identity, limits: SessionLimits, now: float) -> None:
        self.identity = identity
        self.state = SessionState.NEW
        self.uplink = UplinkStatistics()
        self.ledger = Ledger(identity.session_id, limits.silence_interval_s)
        self.replies = Replies(identity.output_rate_hz)
        self.next_sequence = 0
        self._limits = limits
        self._early: list[AudioFrame] = []
        self._last_input = now
        self._created = now
        self._drain_at: float | None = None
        self._retry_save_at: float | None = None
        self._finish_by = math.inf
        self._frames_promised: int | None = None
        self._is_finish_sent = False
        self._is_finished = False

    @property
    def deadline(self) -> float | None:
        """When `tick` is due; `None` once the session is closed."""
        if self.state is SessionState.CLOSED:
            return None
        return min(at for at, _ in self._deadlines())

    def message_received(self, message: ClientMessage, now: float) -> Sequence[Effect]:
        """Take a control message of the caller."""
        if self.state is SessionState.CLOSED:
            return NOTHING
        self._last_input = now
        if isinstance(message, Start):
            return self._start(message, now)
        if self.state is SessionState.NEW:
            return self._fault(CloseCode.WRONG_ORDER, "the first message must be start")
        if isinstance(message, Ping):
            return (Send(Pong(id=message.id)),)
        if isinstance(message, Played):
            self.replies.played(message.generation, message.position_ms, message.is_complete)
            return self._settle(now)
        if isinstance(message, Dtmf):
            return (Press(message.digit),)
        return self._bye(message, now)

    def audio_received(self, frame: AudioFrame, now: float) -> Sequence[Effect]:
        """Take an uplink frame; the effects give it to the agent once the session has started."""
        if self.state is SessionState.CLOSED:
            return NOTHING
        self._last_input = now
        sequence = frame.sequence
        if sequence != self.next_sequence:
            if sequence > self.next_sequence:
                return self._fault(CloseCode.WRONG_ORDER, f"uplink frame {sequence} where {self.next_sequence} is next")
            self.uplink.duplicates += 1
            return NOTHING
        if self._frames_promised is not None and sequence >= self._frames_promised:
            return self._fault(CloseCode.WRONG_ORDER, f"uplink frame {sequence} after a bye of {self._frames_promised}")
        self.next_sequence = sequence + 1
        self.uplink.arrived(sequence, frame.timestamp, len(frame.payload), now)
        if self.state is SessionState.NEW:
            if len(self._early) == self._limits.early_frames:
                return self._fault(CloseCode.WRONG_ORDER, f"{self._limits.early_frames} uplink frames before start")
            self._early.append(frame)
            return NOTHING
        through = self.ledger.through_sequence
        unheard = self.next_sequence if through is None else sequence - through
        if unheard > self._limits.unheard_frames:
            return self._fault(CloseCode.OVERLOADED, f"the agent is {unheard} frames behind")
        if self._frames_promised is None:
            return (Hear(frame),)
        return (Hear(frame), *self._settle(now))

    def malformed_received(self, fault: Malformed) -> Sequence[Effect]:
        """The caller broke the wire format: end the session and say why."""
        return self._fault(fault.code, fault.reason)

    def end(self, code: CloseCode, reason: str) -> Sequence[Effect]:
        """The worker cannot go on with this session."""
        return self._fault(code, reason)

    def agent_emitted(self, event: AgentEvent, now: float) -> Sequence[Effect]:
        """Take what the agent made of the audio."""
        if self.state in (SessionState.NEW, SessionState.CLOSED) or self._is_finished:
            return NOTHING
        match event:
            case SpeechStarted():
                return self._barge_in(now)
            case PartialTranscript(text):
                turn = self.ledger.turn + 1
                return (Send(Transcript(turn=turn, role="user", text=text, is_final=False)),)
            case Understood():
                return self._understood(event)
            case Silence(through_sequence):
                self.ledger.silent(self._received(through_sequence), now)
                return self._save()
            case Reply(text):
                return self._reply(text)
            case ReplyAudio(pcm):
                generation = self.replies.speaking
                if generation is None or not pcm:
                    return NOTHING
                self.replies.add(len(pcm), now)
                return (Speak(generation, pcm),)
            case ReplyEnded():
                return self._end_reply()
            case Finished():
                return self._finished(now)
            case AgentFailed(reason):
                return self._fault(CloseCode.AGENT_FAILED, reason)

    def saved(self, revision: int, now: float) -> Sequence[Effect]:
        """The effect `Save` of this revision was carried out: what it holds cannot be lost any more."""
        if self.state is SessionState.CLOSED:
            return NOTHING
        sequence = self.ledger.saved(revision)
        heard = () if sequence is None else (Send(Heard(sequence=sequence)),)
        return (*heard, *self._save(), *self._settle(now))

    def save_failed(self, revision: int, now: float) -> Sequence[Effect]:
        """The effect `Save` of this revision failed: it is asked for again a little later."""
        if self.ledger.failed(revision):
            self._retry_save_at = now + self._limits.save_retry_s
        return NOTHING

    def drain(self, deadline_s: float, now: float) -> Sequence[Effect]:
        """The worker goes away: tell the caller, who has `deadline_s` to end the session."""
        if self.state is SessionState.NEW:
            return self._fault(CloseCode.DRAINING, "this worker is going away", SessionInput.DRAIN)
        if not self._advance(SessionInput.DRAIN):
            return NOTHING
        self._drain_at = now + deadline_s
        return (Send(Drain(deadline_s=deadline_s)),)

    def lost(self, reason: str) -> Sequence[Effect]:
        """The transport is gone."""
        if not self._advance(SessionInput.LOST):
            return NOTHING
        return (Close(CloseCode.NORMAL, f"the caller left: {reason}"),)

    def tick(self, now: float) -> Sequence[Effect]:
        """Do what `deadline` was for; harmless at any other time."""
        if self.state is SessionState.CLOSED:
            return NOTHING
        if self._retry_save_at is not None and now >= self._retry_save_at:
            self._retry_save_at = None
            return self._save()
        for at, (code, reason) in self._deadlines():
            if now >= at:
                settled = self._settle(now)
                return settled or self._fault(code, reason)
        return NOTHING

    def _deadlines(self) -> list[tuple[float, tuple[CloseCode, str]]]:
        """Everything that is waited for, and the fault if it does not come."""
        limits = self._limits
        deadlines = []
        if self.state is SessionState.NEW:
            deadlines.append((self._created + limits.start_timeout_s, _NEVER_STARTED))
        elif self.state is SessionState.FINISHING:
            is_answered = self._is_finished and self.ledger.is_saved
            deadlines.append((self._played_by() if is_answered else self._finish_by, _NOT_FINISHED))
        else:
            deadlines.append((self._last_input + limits.idle_timeout_s, _IDLE))
        if self._drain_at is not None:
            deadlines.append((self._drain_at, _DRAINED))
        if self._retry_save_at is not None:
            deadlines.append((self._retry_save_at, _NOT_FINISHED))
        return deadlines

    def _start(self, start: Start, now: float) -> Sequence[Effect]:
        if self.state is not SessionState.NEW:
            return self._fault(CloseCode.WRONG_ORDER, "start comes once")
        if start.version != PROTOCOL_VERSION:
            reason = f"version {start.version} is not spoken here, version {PROTOCOL_VERSION} is"
            return self._fault(CloseCode.UNSUPPORTED_VERSION, reason)
        codec = next((_CODECS[value] for value in start.accept if value in _CODECS), None)
        if codec is None:
            return self._fault(CloseCode.UNSUPPORTED_CODEC, f"none of the codecs {list(start.accept)} is spoken here")
        identity = self.identity
        if start.agent not in (None, identity.agent):
            return self._fault(CloseCode.MALFORMED, f"the agent here is {identity.agent}, start asks for another")
        self._advance(SessionInput.START)
        early, self._early = self._early, []
        ready = Ready(session=identity.session_id, worker=identity.worker, codec=codec, next_sequence=0)
        return (Send(ready), Converse(codec), *(Hear(frame) for frame in early))

    def _bye(self, bye: Bye, now: float) -> Sequence[Effect]:
        if bye.frames < self.next_sequence:
            return self._fault(CloseCode.WRONG_ORDER, f"bye of {bye.frames} frames after {self.next_sequence}")
        if not self._advance(SessionInput.BYE):
            return self._fault(CloseCode.WRONG_ORDER, "bye comes once")
        self._frames_promised = bye.frames
        self._finish_by = now + self._limits.finish_timeout_s
        return self._settle(now)

    def _barge_in(self, now: float) -> Sequence[Effect]:
        interrupted = self.replies.interrupt(now)
        if interrupted is None:
            return NOTHING
        played_ms, cuts = interrupted
        self.ledger.interrupted(cuts)
        resets = (ResetSpeech(cut.generation) for cut in cuts)
        return (*resets, Send(Flush(generation=cuts[-1].generation)), Interrupt(played_ms), *self._save())

    def _understood(self, event: Understood) -> Sequence[Effect]:
        ledger = self.ledger
        ledger.understood(event.text, self._received(event.through_sequence), event.state)
        transcript = Send(Transcript(turn=ledger.turn, role="user", text=event.text, is_final=True))
        if event.state is None:
            return (transcript, *self._save())
        return (transcript, Send(State(revision=ledger.revision, state=dict(event.state))), *self._save())

    def _reply(self, text: str) -> Sequence[Effect]:
        ended = self._end_reply()
        generation = self.replies.begin(text)
        self.ledger.answered(generation, text)
        turn = self.ledger.turn
        transcript = Send(Transcript(turn=turn, role="agent", text=text, is_final=True))
        return (*ended, transcript, Send(Speech(generation=generation, turn=turn)), *self._save())

    def _end_reply(self) -> Sequence[Effect]:
        generation = self.replies.end()
        return NOTHING if generation is None else (EndSpeech(generation),)

    def _finished(self, now: float) -> Sequence[Effect]:
        if not self._is_finish_sent:
            return NOTHING
        self._is_finished = True
        self.ledger.completed(self._received(self.next_sequence - 1))
        return (*self._end_reply(), *self._save(), *self._settle(now))

    def _settle(self, now: float) -> Sequence[Effect]:
        """In `FINISHING`: take the next step that is possible."""
        if self.state is not SessionState.FINISHING:
            return NOTHING
        if not self._is_finish_sent:
            if self.next_sequence != self._frames_promised:
                return NOTHING
            self._is_finish_sent = True
            return (Finish(),)
        is_played = not self.replies.has_outstanding or now >= self._played_by()
        if not (self._is_finished and self.ledger.is_saved and is_played):
            return NOTHING
        self._advance(SessionInput.DONE)
        return (Send(Bye(frames=self.next_sequence)), Close(CloseCode.NORMAL, "bye"))

    def _played_by(self) -> float:
        return self.replies.speech_until + self._limits.playout_grace_s

    def _save(self) -> Sequence[Effect]:
        if self._retry_save_at is not None:
            return NOTHING
        record = self.ledger.next_save()
        return NOTHING if record is None else (Save(record),)

    def _received(self, through_sequence: int) -> int | None:
        """Cap it at what has arrived: an agent cannot have heard more."""
        sequence = min(through_sequence, self.next_sequence - 1)
        return sequence if sequence >= 0 else None

    def _fault(self, code: CloseCode, reason: str, given: SessionInput = SessionInput.FAULT) -> Sequence[Effect]:
        if not self._advance(given):
            return NOTHING
        return (Send(Error(code=code, message=reason)), Close(code, reason))

    def _advance(self, given: SessionInput) -> bool:
        state = next_state(self.state, given)
        if state is None:
            return False
        self.state = state
        return True


_CODECS: Final = {codec.value: codec for codec in Codec}
_NEVER_STARTED: Final = (CloseCode.IDLE, "no start arrived")
_IDLE: Final = (CloseCode.IDLE, "nothing arrived for too long")
_NOT_FINISHED: Final = (CloseCode.AGENT_FAILED, "the last words could not be answered and saved in time")
_DRAINED: Final = (CloseCode.DRAINING, "this worker is going away")
