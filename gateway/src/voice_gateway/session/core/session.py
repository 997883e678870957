"""A voice session's rules, sans-IO: events of caller, agent, store and timers in, effects out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from voice_gateway.agent.base import (
    AgentEvent,
    AgentFailed,
    CallClientTool,
    CancelClientTool,
    FinalTranscript,
    Finished,
    HangUp,
    NoSpeechUpTo,
    RecordingConsent,
    ReplyAudio,
    SendAppMessage,
    StateChanged,
    StopReply,
    TransferCall,
)
from voice_gateway.session.core.agent_event_limits import LONGEST_TEXT, unsavable, unsendable
from voice_gateway.session.core.client_messages import ClientMessages, MessageEvent
from voice_gateway.session.core.effects import (
    BeginUplink,
    Close,
    Decode,
    Effect,
    Finish,
    Greet,
    InjectText,
    PressKey,
    ReportSaved,
    ResumeConversation,
    Save,
    SayAgain,
    Send,
    StartConversation,
)
from voice_gateway.session.core.lifecycle.agreement import Agreement
from voice_gateway.session.core.lifecycle.closing_handshake import ClosingHandshake, ClosingStep
from voice_gateway.session.core.lifecycle.draining import Draining
from voice_gateway.session.core.lifecycle.state import SessionInput, SessionState, StateMachine
from voice_gateway.session.core.operator import OperatorAction, TypeText
from voice_gateway.session.core.record.checkpoints import Checkpoints
from voice_gateway.session.core.record.record_tracker import RecordTracker
from voice_gateway.session.core.session_limits import Identity, SessionLimits
from voice_gateway.session.core.speech.turns import NOTHING, Turns, transcript
from voice_gateway.session.core.speech.utterances.utterances import Utterances
from voice_gateway.session.stats.turn_latency import Figure
from voice_gateway.session.stats.uplink_statistics import UplinkStatistics
from voice_gateway.store.base import SessionRecord
from voicelink.wire import (
    AudioFrame,
    Bye,
    ClientMessage,
    CloseCode,
    Drain,
    Dtmf,
    Error,
    Heard,
    Malformed,
    Measured,
    NumberedClientMessage,
    Ping,
    Played,
    Pong,
    Ready,
    Received,
    Resume,
    Start,
    State,
    Transfer,
    UplinkMode,
)


class Session:
    """Give it each event with the time; carry out the effects that each call returns, in their order.

    Begin with `start`, or with `resume` where the session is made from a `record`. Call `tick` at `deadline`. After the
    effect `Close` no call returns effects any more. With a `token` the session outlives its connection: call `resume`
    when the caller is back.
    """

    def __init__(
        self,
        identity: Identity,
        limits: SessionLimits,
        now: float,
        *,
        token: str | None = None,
        record: SessionRecord | None = None,
        observe: Callable[[Figure, float], None] = lambda figure, value_s: None,
    ) -> None:
        self.identity = identity
        state = SessionState.NEW if record is None else SessionState.DETACHED
        self._machine = StateMachine(identity.session_id, state)
        self.uplink = UplinkStatistics()
        self.tracker = RecordTracker(
            identity.session_id, limits.silence_interval_s, identity.worker, record, identity.subject
        )
        self.utterances = Utterances(identity.audio, record.utterance_id if record else 0)
        self.turns = Turns(self.tracker, self.utterances, self.uplink, observe)
        self.messages = ClientMessages(self.tracker)
        acked_sequence = self.tracker.saves.acked_sequence
        self.next_sequence = 0 if acked_sequence is None else acked_sequence + 1
        self.limits = limits
        self._token = token
        self._is_restored = record is not None
        self._last_input = now
        self._created = now
        self._detached_at = now
        self._draining = Draining()
        self._retry_save_at: float | None = None
        self._transferred_by: float | None = None
        self._closing = ClosingHandshake(limits.finish_timeout_s)
        self.frames_replayed = 0
        """How many frames the caller says that it sent again, as far as that can be."""
        self._replayable = 0
        self._checkpoints = Checkpoints()

    @property
    def state(self) -> SessionState:
        return self._machine.current

    @property
    def deadline(self) -> float | None:
        """When `tick` is due; `None` once the session is closed."""
        if self.state is SessionState.CLOSED:
            return None
        return min(self._deadlines())[0]

    def message_received(self, message: ClientMessage, now: float) -> Sequence[Effect]:
        """Take a control message of the caller."""
        if self.state is SessionState.CLOSED:
            return NOTHING
        self._last_input = now
        if isinstance(message, Start):
            return self._fault(CloseCode.WRONG_ORDER, "start comes once")
        if isinstance(message, Resume):
            return self._fault(CloseCode.WRONG_ORDER, "resume must come first, and once")
        if self.tracker.resume_tokens.confirm():
            self.tracker.changed()
            return (*self._save(), *self._take(message, now))
        return self._take(message, now)

    def _take(
        self, message: Ping | Played | Measured | Dtmf | Bye | NumberedClientMessage | Received, now: float
    ) -> Sequence[Effect]:
        if isinstance(message, Ping):
            return (Send(Pong(id=message.id)),)
        if isinstance(message, Played):
            played = self.turns.played(message, now)
            return (*played, *self._close_if_answered(now), *self._send_drain(now))
        if isinstance(message, Measured):
            self._measured(message, now)
            return NOTHING
        if isinstance(message, Dtmf):
            return (PressKey(message.digit),)
        if isinstance(message, Bye):
            return self._bye(message, now)
        if isinstance(message, Received):
            return self._received_by_client(message)
        if self._closing.is_agent_finished:
            return NOTHING
        taken = self.messages.received(message)
        return self._fault(taken.code, taken.reason) if isinstance(taken, Malformed) else taken

    def _received_by_client(self, received: Received) -> Sequence[Effect]:
        was_transferring = self.tracker.messages.is_transferring
        fault = self.messages.acknowledged(received)
        if fault is not None:
            return self._fault(fault.code, fault.reason)
        return self._hang_up_if_transferred(was_transferring)

    def audio_received(self, frame: AudioFrame, now: float, waiting: int = 0) -> Sequence[Effect]:
        """Take an uplink frame; the effects give it to the agent once the session has started.

        `waiting` frames before it have not reached the agent, which is not behind with those.
        """
        if self._machine.current is SessionState.CLOSED:
            return NOTHING
        if now > self._last_input:  # a frame that overtook `start` arrived before it
            self._last_input = now
        sequence = frame.sequence
        if sequence != self.next_sequence:
            if sequence > self.next_sequence:
                return self._fault(CloseCode.WRONG_ORDER, f"uplink frame {sequence} where {self.next_sequence} is next")
            self.uplink.duplicates += 1
            return NOTHING
        is_closing = self._closing.frames is not None
        if is_closing and self._closing.is_past_end(sequence):
            return self._fault(CloseCode.WRONG_ORDER, f"uplink frame {sequence} after a bye of {self._closing.frames}")
        self.next_sequence = sequence + 1
        self.uplink.arrived(sequence, frame.timestamp, len(frame.payload), now)
        through = self.tracker.through_sequence
        unacked = (self.next_sequence if through is None else sequence - through) - waiting
        if waiting > self.limits.unacked_frames:
            return self._fault(CloseCode.OVERLOADED, f"{waiting} uplink frames wait to be decoded")
        if unacked > self.limits.unacked_frames:
            return self._fault(CloseCode.OVERLOADED, f"the agent is {unacked} frames behind")
        if not is_closing:
            return (Decode(frame),)
        return (Decode(frame), *self._finish_agent_if(self._closing.frame_received(self.next_sequence)))

    def malformed_received(self, fault: Malformed) -> Sequence[Effect]:
        """The caller broke the wire format: end the session and say why."""
        return self._fault(fault.code, fault.reason)

    def end(self, code: CloseCode, reason: str) -> Sequence[Effect]:
        """The worker cannot go on with this session."""
        return self._fault(code, reason)

    def agent_emitted(self, event: AgentEvent, now: float) -> Sequence[Effect]:
        """Take an event of the agent."""
        if self._machine.current in _NOT_IN_OPERATION or self._closing.is_agent_finished:
            return NOTHING
        self._closing.agent_emitted(now)
        effects = self._follow(event, now)
        return (*effects, *self._send_drain(now)) if self._draining.is_notice_pending else effects

    def operator_asked(self, action: OperatorAction, now: float) -> Sequence[Effect] | str:
        """Do what an operator asks, or return why that cannot be."""
        if self._machine.current in _NOT_IN_OPERATION:
            return "the session has ended, or has not begun"
        if isinstance(action, HangUp):  # also while its last answer is played
            return self._hang_up(action.reason)
        if self._closing.is_agent_finished:
            return "the session is ending"
        if isinstance(action, TransferCall):
            return self.agent_emitted(action, now)
        if self.state is SessionState.DETACHED:
            return "the caller is not connected now"
        if isinstance(action, TypeText):
            return (InjectText(action.text),)
        if len(action.text) > LONGEST_TEXT:
            return f"the text has {len(action.text)} characters, a client takes {LONGEST_TEXT} at once"
        return (*self.turns.follow(StopReply(), now, None, True), SayAgain(action.text), *self._save())

    def _follow(self, event: AgentEvent, now: float) -> Sequence[Effect]:
        if isinstance(event, ReplyAudio):
            return (*self.turns.add_audio(event.pcm, now), *self._save())
        fault = unsavable(event)
        if fault is not None:
            return self._fault(CloseCode.AGENT_FAILED, fault)
        match event:
            case NoSpeechUpTo(through_sequence):
                self.turns.is_callers = False
                self.tracker.silent(self._received(through_sequence), now)
                return self._save()
            case Finished():
                return self._finished(now)
            case AgentFailed(reason):
                return self._fault(CloseCode.AGENT_FAILED, reason)
            case HangUp(reason):
                return self._hang_up(reason)
            case RecordingConsent(is_given):
                self.tracker.recording_consent = is_given
                self.tracker.changed()
                return self._save()
            case SendAppMessage() | CallClientTool() | CancelClientTool() | TransferCall():
                return self._send_message(event, now)
            case FinalTranscript(through_message=int(number)) | StateChanged(through_message=int(number)):
                self.tracker.messages.reach(number)
        fault = unsendable(event)
        if fault is not None:
            return self._fault(CloseCode.AGENT_FAILED, fault)
        through = self._received(event.through_sequence) if isinstance(event, FinalTranscript) else None
        is_attached = self.state is not SessionState.DETACHED
        effects = self.turns.follow(event, now, through, is_attached)
        if isinstance(event, StateChanged) and event.checkpoint is not None:
            self._checkpoints.add(event.checkpoint, self.tracker.revision)
        return (*effects, *self._save())

    def saved(self, revision: int, now: float) -> Sequence[Effect]:
        """The effect `Save` of this revision was carried out: what it holds cannot be lost any more."""
        if self.state is SessionState.CLOSED:
            return NOTHING
        acks = self.tracker.saves.succeeded(revision)
        effects: list[Effect] = [] if acks.sequence is None else [Send(Heard(sequence=acks.sequence))]
        if acks.message is not None:
            effects.append(Send(Received(number=acks.message)))
        effects += self._due_messages()
        effects += map(ReportSaved, self._checkpoints.reached(self.tracker.saves.revision))
        return (*effects, *self._save(), *self._close_if_answered(now), *self._send_drain(now))

    def _due_messages(self) -> Sequence[Effect]:
        return NOTHING if self.state is SessionState.DETACHED else self.messages.due()

    def save_failed(self, revision: int, now: float) -> Sequence[Effect]:
        """The effect `Save` of this revision failed: it is asked for again a little later."""
        if self.tracker.saves.failed(revision):
            self._retry_save_at = now + self.limits.save_retry_s
        return NOTHING

    def drain(self, deadline_s: float, now: float) -> Sequence[Effect]:
        """The worker goes away within `deadline_s`: send the caller elsewhere, at a quiet moment of its turn."""
        if not self._machine.advance(SessionInput.DRAIN):
            return NOTHING
        self._draining.begin(deadline_s, now)
        return self._send_drain(now)

    def lost(self, reason: str, now: float) -> Sequence[Effect]:
        """The connection is gone: wait for the caller to come back, or for the end of `resume_window_s`."""
        if self._token is None or self.limits.resume_window_s <= 0:
            return self.left(reason)
        if not self._machine.advance(SessionInput.LOST):
            return self.left(reason)
        self._detached_at = now
        self.utterances.hold()
        return self._send_drain(now)

    def left(self, reason: str) -> Sequence[Effect]:
        """The caller closed the session: it will not come back."""
        if not self._machine.advance(SessionInput.LEFT):
            return NOTHING
        return (Close(CloseCode.NORMAL, f"the caller left: {reason}"),)

    def start(self, agreement: Agreement, now: float) -> Sequence[Effect]:
        """Begin; call it once, before anything else, on a session that was not made from a record."""
        if not self._machine.advance(SessionInput.START):
            return NOTHING
        self._last_input = now
        self.tracker.messages.attached(agreement.next_message)
        if self._token is not None:
            self.tracker.resume_tokens = self.tracker.resume_tokens.renewed(self._token)
            self.tracker.changed()
        return (*self._ready(agreement), *self._save(), StartConversation(agreement.codec))

    def resume(
        self, agreement: Agreement, resume: Resume, token: str, now: float, *, has_gap: bool = False
    ) -> Sequence[Effect]:
        """The caller is back over a new transport; call `lost` first where the old one is still there.

        `token` is for the next resume. The caller gets what it has not played of the answers that were made here, and
        the rest as it is made; what was made at another worker the agent says again. A caller with a gap (`has_gap`),
        who cannot send again what was not understood, gets a summary of the conversation.
        """
        codec = agreement.codec
        if not self._machine.advance(SessionInput.RESUME):
            return NOTHING
        tracker, is_restored = self.tracker, self._is_restored
        was_transferring = tracker.messages.is_transferring
        tracker.messages.attached(agreement.next_message)
        if was_transferring:
            self._transferred_by = now + self.limits.transfer_timeout_s
        self._token, self._last_input, self._is_restored = token, now, False
        self._replayable = self.limits.unacked_frames
        # a bye belongs to its connection: the caller says it again, and the agent may have more to say before its end
        self._closing = ClosingHandshake(self.limits.finish_timeout_s)
        tracker.resume_tokens = tracker.resume_tokens.renewed(token, used=resume.token or None)
        tracker.changed()
        effects: list[Effect] = [*self._ready(agreement), ResumeConversation(codec, tracker.state)]
        if tracker.saves.acked_sequence is not None:
            effects.append(Send(Heard(sequence=tracker.saves.acked_sequence)))
        effects += (Send(transcript(line)) for line in tracker.transcript.since(resume.turn))
        if tracker.state:
            effects.append(Send(State(revision=tracker.revision, state=dict(tracker.state))))
        if tracker.messages.acked is not None and tracker.messages.is_spoken:
            effects.append(Send(Received(number=tracker.messages.acked)))
        effects += self.messages.due()
        again = self.turns.greet_again() if has_gap else self.turns.go_on(resume, now)
        effects += again
        if is_restored and not again and not tracker.transcript.has_answered:
            effects.append(Greet())
        return (*effects, *self._save(), *self._hang_up_if_transferred(was_transferring))

    def fenced(self) -> Sequence[Effect]:
        """Another worker has the session now."""
        reason = "the session goes on at another worker"
        if not self._machine.advance(SessionInput.FAULT):
            return NOTHING
        return (
            Send(Error(code=CloseCode.TAKEN_OVER, message=reason)),
            Close(CloseCode.TAKEN_OVER, reason, is_record_kept=True),
        )

    def tick(self, now: float) -> Sequence[Effect]:
        """Do what `deadline` was for; harmless at any other time."""
        if self.state is SessionState.CLOSED:
            return NOTHING
        if self._retry_save_at is not None and now >= self._retry_save_at:
            self._retry_save_at = None
            return self._save()
        if self._transferred_by is not None and now >= self._transferred_by and self.state is not SessionState.DETACHED:
            return self._hang_up(_TRANSFERRED)
        if self._draining.is_notice_due(now):
            return self._send_drain(now)
        for at, (code, reason) in self._deadlines():
            if now >= at:
                return self._close_if_answered(now) or self._fault(code, reason)
        return NOTHING

    def _deadlines(self) -> list[tuple[float, tuple[CloseCode, str]]]:
        """Everything that is waited for, and the fault if it does not come."""
        limits = self.limits
        deadlines = []
        if self.state is SessionState.FINISHING:
            is_answered = self._closing.is_agent_finished and self.tracker.is_saved
            deadlines.append((self._played_by() if is_answered else self._closing.deadline, _NOT_FINISHED))
        elif self.state is SessionState.DETACHED:
            deadlines.append((self._detached_at + limits.resume_window_s, _NOT_RESUMED))
        else:
            deadlines.append((self._last_input + limits.idle_timeout_s, _IDLE))
        deadlines += ((at, _DRAINED) for at in self._draining.deadlines())
        if self._retry_save_at is not None:
            deadlines.append((self._retry_save_at, _NOT_FINISHED))
        if self._transferred_by is not None and self.state is not SessionState.DETACHED:
            deadlines.append((self._transferred_by, _IDLE))
        return deadlines

    def _ready(self, agreement: Agreement) -> Sequence[Effect]:
        ready = Ready(
            session=self.identity.session_id,
            worker=self.identity.worker,
            codec=agreement.codec,
            next_sequence=self.next_sequence,
            token=self._token,
            resume_window_s=0.0 if self._token is None else self.limits.resume_window_s,
            uplink=agreement.uplink,
            next_message=None if agreement.next_message is None else self.tracker.messages.next_number,
        )
        if agreement.uplink is UplinkMode.RELIABLE:
            return (Send(ready),)
        return (BeginUplink(agreement.uplink, self.next_sequence), Send(ready))

    def _send_drain(self, now: float) -> Sequence[Effect]:
        """While the worker goes away: send the caller elsewhere once no turn is open and all is saved.

        A turn is open while a side speaks, and while the agent's private state names it as `pending`.
        """
        if self._draining.ends_at is None or self.state is SessionState.CLOSED:
            return NOTHING
        if self.state is SessionState.DETACHED and self.tracker.is_saved:
            return self._fault(*_DRAINED)
        is_answering = bool(self.tracker.private_state.get("pending"))
        is_quiet = self.turns.is_quiet and self.tracker.is_saved and not is_answering
        left_s = self._draining.notice(now, is_quiet=is_quiet)
        return NOTHING if left_s is None else (Send(Drain(deadline_s=round(left_s, 3))),)

    def _measured(self, measured: Measured, now: float) -> None:
        """Take what is possible: no figure began before the session, no resume repeats more than a caller may keep."""
        replayed = min(measured.frames_replayed, self._replayable)
        self._replayable -= replayed
        self.frames_replayed += replayed
        longest_s = now - self._created + self.limits.resume_window_s
        self.turns.latencies.measured(measured, self.tracker.turn, replayed, longest_s * 1000)

    def _bye(self, bye: Bye, now: float) -> Sequence[Effect]:
        if bye.frames < self.next_sequence:
            return self._fault(CloseCode.WRONG_ORDER, f"bye of {bye.frames} frames after {self.next_sequence}")
        if not self._machine.advance(SessionInput.BYE):
            return self._fault(CloseCode.WRONG_ORDER, "bye comes once")
        return self._finish_agent_if(self._closing.bye_received(bye.frames, self.next_sequence, now))

    def _finished(self, now: float) -> Sequence[Effect]:
        if not self._closing.agent_finished():
            return NOTHING
        self.tracker.completed(self._received(self.next_sequence - 1))
        return (*self.turns.end_reply(), *self._save(), *self._close_if_answered(now))

    def _finish_agent_if(self, step: ClosingStep) -> Sequence[Effect]:
        return (Finish(),) if step is ClosingStep.FINISH_AGENT else NOTHING

    def _close_if_answered(self, now: float) -> Sequence[Effect]:
        """Say `bye` and close, once the last answer was saved and was played, or must have been."""
        if self.state is not SessionState.FINISHING:
            return NOTHING
        is_played = not self.utterances.has_outstanding or now >= self._played_by()
        step = self._closing.answers_progressed(is_saved=self.tracker.is_saved, is_played=is_played)
        if step is not ClosingStep.SAY_BYE:
            return NOTHING
        self._machine.advance(SessionInput.DONE)
        forget_after_s = 0.0 if self._token is None else self.limits.resume_window_s
        close = Close(CloseCode.NORMAL, "bye", forget_after_s=forget_after_s)
        return (Send(Bye(frames=self.next_sequence)), close)

    def _played_by(self) -> float:
        return self.utterances.speech_until + self.limits.playout_grace_s

    def _save(self) -> Sequence[Effect]:
        if self._retry_save_at is not None:
            return NOTHING
        record = self.tracker.next_save()
        return NOTHING if record is None else (Save(record),)

    def _received(self, through_sequence: int) -> int | None:
        """Cap it at what has arrived: an agent has no later frame."""
        sequence = min(through_sequence, self.next_sequence - 1)
        return sequence if sequence >= 0 else None

    def _hang_up(self, reason: str) -> Sequence[Effect]:
        if not self._machine.advance(SessionInput.HANG_UP):
            return NOTHING
        reason = reason or "the agent hung up"
        last = self.messages.due(is_last=True)
        return (*last, Send(Bye(frames=self.next_sequence, reason=reason)), Close(CloseCode.NORMAL, reason))

    def _send_message(self, event: MessageEvent, now: float) -> Sequence[Effect]:
        followed = self.messages.follow(event)
        if isinstance(followed, Malformed):
            return self._fault(followed.code, followed.reason)
        if isinstance(event, TransferCall):
            if not self.tracker.messages.is_spoken:
                return (Send(Transfer(number=0, target=event.target)), *self._hang_up(_TRANSFERRED))
            self._transferred_by = now + self.limits.transfer_timeout_s
        return (*followed, *self._save())

    def _hang_up_if_transferred(self, was_transferring: bool) -> Sequence[Effect]:
        """End the session once the client has a transfer that it had not, or takes no messages any more."""
        messages = self.tracker.messages
        if not was_transferring or (messages.is_transferring and messages.is_spoken):
            return NOTHING
        return self._hang_up(_TRANSFERRED)

    def _fault(self, code: CloseCode, reason: str) -> Sequence[Effect]:
        if not self._machine.advance(SessionInput.FAULT):
            return NOTHING
        is_kept = code is CloseCode.DRAINING and self._token is not None
        return (Send(Error(code=code, message=reason)), Close(code, reason, is_kept))


_NOT_IN_OPERATION: Final = (SessionState.NEW, SessionState.CLOSED)
_TRANSFERRED: Final = "the call was transferred"
_NOT_RESUMED: Final = (CloseCode.IDLE, "the caller did not come back")
_IDLE: Final = (CloseCode.IDLE, "nothing arrived for too long")
_NOT_FINISHED: Final = (CloseCode.AGENT_FAILED, "the last words could not be answered and saved in time")
_DRAINED: Final = (CloseCode.DRAINING, "this worker is going away")
