"""A session in operation: carries out the effects of `Session` with a transport, an agent, codecs and a store."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from voice_gateway.agent.base import Agent, AgentEvent, ReplyAudio, UserAudio
from voice_gateway.errors import loggable
from voice_gateway.recording.segments.recorder import Recordings
from voice_gateway.session.core.effects import (
    BeginUplink,
    Close,
    Decode,
    Deliver,
    Effect,
    EndSpeech,
    Finish,
    Interrupt,
    PressKey,
    ResetSpeech,
    ResumeConversation,
    Save,
    Send,
    Speak,
    StartConversation,
    TakeMessage,
)
from voice_gateway.session.core.lifecycle.agreement import Agreement
from voice_gateway.session.core.lifecycle.state import SessionState
from voice_gateway.session.core.operator import OperatorAction
from voice_gateway.session.core.session import Session
from voice_gateway.session.core.speech.agent_audio import AgentAudio
from voice_gateway.session.core.speech.pacing import Lead
from voice_gateway.session.runtime.agent_conversation import AGENT_EFFECTS, AgentConversation, AgentEffect
from voice_gateway.session.runtime.connection.attachment import Attachment
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.session.runtime.reports.session_recording import begin_recording
from voice_gateway.session.runtime.reports.session_reports import SessionReports
from voice_gateway.session.runtime.saving.stored_record import SaveOutcome, Spawn, StoredRecord
from voice_gateway.session.runtime.speaker import Speaker
from voice_gateway.session.runtime.uplink.backlog import FRAMES_BEHIND, AgentInput, Backlog, UplinkScheduler
from voice_gateway.session.runtime.uplink.uplink_audio import UplinkAudio
from voice_gateway.session.stats.counters import SessionCounters
from voice_gateway.session.stats.events import SessionEvents
from voice_gateway.session.stats.snapshot import SessionSnapshot
from voice_gateway.store.base import SessionRecord, SessionStore
from voice_gateway.transport.base import TransportHandler
from voicelink.net.deadline_timer import DeadlineTimer
from voicelink.wire import AudioFrame, ClientMessage, CloseCode, Codec, Malformed, Played, Resume, ToolResult

_MOST_UNSENT_S = 1_800
"""Audio of an agent that makes more and more without end."""


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that the sessions of one worker share."""

    agent: Agent
    audio: AgentAudio
    store: SessionStore
    counters: SessionCounters
    spawn: Spawn
    lead: Lead
    uplinks: UplinkScheduler
    events: SessionEvents
    recordings: Recordings | None = None


@dataclass(frozen=True, slots=True)
class EarlyFrame:
    """An uplink frame that overtook `start`."""

    frame: AudioFrame
    arrived_at: float


class Owner(Protocol):
    """Holds the live sessions of a worker."""

    def session_ended(self, live: LiveSession) -> None:
        """The session is over; called once."""


class LiveSession(TransportHandler):
    """One caller's session behind a `ClientConnection`, or without one until the caller is back."""

    def __init__(self, session: Session, connection: ClientConnection, services: Services, owner: Owner) -> None:
        self.session = session
        self._services = services
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        clock, counters, recordings = self._loop.time, services.counters, services.recordings
        self._attachment = attachment = Attachment(session.identity.session_id, connection)
        self._recorder = recorder = (
            None if recordings is None else begin_recording(recordings, session, connection, clock())
        )
        self._reports = SessionReports(session, attachment, services.events, counters, recorder, clock)
        self._stored = StoredRecord(session, services.store, attachment, counters, recorder, services.spawn)
        self._conversation = AgentConversation(services.agent, session)
        self._speaker: Speaker | None = None
        has_resumed = session.state is SessionState.DETACHED
        self._uplink_audio = UplinkAudio(services.audio, services.uplinks, attachment, clock, has_resumed=has_resumed)
        self._backlog = Backlog(
            services.uplinks, lambda effect: self._run((Deliver(effect),)), session.limits.waiting_bytes
        )
        self._effects: deque[Effect] = deque()
        self._is_running = False
        self._timer = DeadlineTimer(self._loop, self._tick)
        connection.set_handler(self)
        self._arm()

    # What the manager and operators ask for

    def start(self, agreement: Agreement, early: Sequence[EarlyFrame]) -> None:
        """Begin a new session, and take the frames that overtook the caller's `start`."""
        self._apply(self.session.start(agreement, self._loop.time()))
        for each in early:
            self.audio_received(each.frame, each.arrived_at)

    def attach(
        self,
        connection: ClientConnection,
        agreement: Agreement,
        resume: Resume,
        token: str,
        *,
        has_gap: bool = False,
    ) -> None:
        """Go on over another transport. One that is still there is closed: the newest connection has the session.

        After a gap half an utterance is dropped: the caller will say it from its start.
        """
        former, self._attachment.connection = self._attachment.connection, connection
        if former is not connection and former.is_open:
            former.refuse(CloseCode.TAKEN_OVER, "the session goes on over a newer connection")
            self.lost("taken over by a newer connection")
        connection.set_handler(self)
        if self._recorder is not None:
            self._recorder.received(resume, self._loop.time())
        self._reports.resumed(is_restored=former is connection)
        if has_gap:
            self._conversation.close()
            self._backlog.clear()
            self._uplink_audio.restart()
        self._apply(self.session.resume(agreement, resume, token, self._loop.time(), has_gap=has_gap))

    def fence(self) -> None:
        """Another worker has the session: end it here, and leave its record alone."""
        effects = self.session.fenced()
        if effects:
            self._attachment.log.debug("session_fenced", epoch=self.session.tracker.ownership.epoch)
        self._apply(effects)

    def drain(self, deadline_s: float) -> None:
        self._reports.draining(deadline_s)
        self._apply(self.session.drain(deadline_s, self._loop.time()))

    def operator_asked(self, action: OperatorAction) -> str | None:
        """Do what an operator asks, or return why that cannot be."""
        effects = self.session.operator_asked(action, self._loop.time())
        if isinstance(effects, str):
            return effects
        self._attachment.log.info("session_operated", action=type(action).__name__)
        self._apply(effects)
        return None

    def end(self, code: CloseCode, reason: str) -> None:
        self._apply(self.session.end(code, reason))

    def snapshot(self) -> SessionSnapshot:
        return self._reports.snapshot()

    # What the transport brings

    @property
    def is_behind(self) -> bool:
        """Whether audio that arrived waits to be decoded, and more than a few seconds of it."""
        return len(self._backlog.waiting) >= FRAMES_BEHIND

    def message_received(self, message: ClientMessage) -> None:
        if self._recorder is not None:
            self._recorder.received(message, self._loop.time())
        replayed = self.session.frames_replayed
        self._apply(self.session.message_received(message, self._loop.time()))
        self._services.counters.frames_replayed += self.session.frames_replayed - replayed
        if isinstance(message, Played) and self._speaker:
            self._speaker.on_played()

    def audio_received(self, frame: AudioFrame, arrived_at: float | None = None) -> None:
        """An uplink frame arrived, now or before. Deadlines only move away from it, so the timer is left alone."""
        now = self._loop.time() if arrived_at is None else arrived_at
        counters, uplink = self._services.counters, self.session.uplink
        counters.frames_received += 1
        counters.bytes_received += len(frame.payload)
        frames = uplink.frames
        effects = self.session.audio_received(frame, now, len(self._backlog.waiting))
        if uplink.frames == frames:
            counters.frames_dropped += 1
        elif frames:
            counters.uplink_gap.observe(uplink.last_gap_s)
        if self._recorder is not None and uplink.frames != frames:
            self._recorder.uplink(frame, now)
        self._run(effects)

    def malformed_received(self, fault: Malformed) -> None:
        self._apply(self.session.malformed_received(fault))

    def path_changed(self, peer: str) -> None:
        """The caller's validated address changed."""
        session = self.session
        self._reports.migrated(peer, session.turns.latencies.migrated(session.tracker.turn, self._loop.time()))

    def lost(self, reason: str) -> None:
        if self._speaker:
            self._speaker.close()
        self._apply(self.session.lost(reason, self._loop.time()))
        if self.session.state is SessionState.DETACHED:
            self._reports.detached(reason)

    def left(self, reason: str) -> None:
        self._apply(self.session.left(reason))

    # What the agent, the store and the timer bring

    def _emit(self, event: AgentEvent) -> None:
        if isinstance(event, ReplyAudio):  # deadlines only move away from it, so the timer is left alone
            self._run(self.session.agent_emitted(event, self._loop.time()))
            return
        self._reports.agent_emits(event)
        self._apply(self.session.agent_emitted(event, self._loop.time()))
        self._reports.agent_emitted(event)

    def _saved(self, record: SessionRecord, outcome: SaveOutcome) -> None:
        match outcome:
            case SaveOutcome.SAVED:
                self._apply(self.session.saved(record.revision, self._loop.time()))
            case SaveOutcome.FAILED:
                self._apply(self.session.save_failed(record.revision, self._loop.time()))
            case SaveOutcome.FENCED:
                self.fence()

    def _tick(self, now: float) -> None:
        self._apply(self.session.tick(now))

    def _arm(self) -> None:
        deadline = self.session.deadline
        if deadline is not None:
            self._timer.set(deadline)

    # Effects

    def _apply(self, effects: Sequence[Effect]) -> None:
        self._run(effects)
        self._arm()

    def _run(self, effects: Sequence[Effect]) -> None:
        """Carry effects out in order, also those that carrying out others brought about. Runs for each frame."""
        self._effects.extend(effects)
        if self._is_running:
            return
        self._is_running = True
        try:
            while self._effects:
                effect = self._effects.popleft()
                try:
                    self._CARRY_OUT[type(effect)](self, effect)
                except Exception as error:
                    # one session's failure, an agent's above all, must not reach the transport that others share
                    self._attachment.log.error("session_effect_failed", effect=type(effect).__name__, **loggable(error))
                    self._effects.clear()
                    self._effects.extend(self.session.end(CloseCode.INTERNAL, "the worker failed"))
        finally:
            self._is_running = False

    def _queue(self, effect: AgentInput) -> None:
        """Give it to the agent, now or behind what waits."""
        is_due = self._backlog.is_due(effect)
        if is_due:
            self._deliver(effect)
        elif is_due is None:
            self._run(self.session.end(CloseCode.OVERLOADED, "more audio arrives than can wait to be decoded"))

    def _deliver(self, effect: AgentInput) -> None:
        if isinstance(effect, Decode):
            audio = self._uplink_audio.decode(effect.frame)
            if isinstance(audio, Malformed):
                self._run(self.session.malformed_received(audio))
            else:
                conversation = self._conversation.current or self._conversation.required
                conversation.hear(UserAudio(effect.frame.sequence, audio))
            return
        if isinstance(effect, TakeMessage) and isinstance(effect.message, ToolResult):
            self._reports.tool_ended(effect.message.call_id, has_failed=effect.message.error is not None)
        self._conversation.carry_out(effect)

    def _deliver_waiting(self, deliver: Deliver) -> None:
        self._deliver(deliver.effect)

    def _inform_agent(self, effect: AgentEffect) -> None:
        self._conversation.carry_out(effect)

    def _send(self, send: Send) -> None:
        self._attachment.connection.transport.send(send.message)
        if self._recorder is not None:
            self._recorder.sent(send.message, self._loop.time())

    def _speak(self, speak: Speak) -> None:
        speaker = self._speaker or self._required_speaker()
        speaker.speak(speak.utterance_id, speak.pcm)
        if speaker.waiting_s > _MOST_UNSENT_S:
            reason = f"the agent has said more than {_MOST_UNSENT_S} s that wait to be played"
            self._run(self.session.end(CloseCode.AGENT_FAILED, reason))

    def _end_speech(self, end: EndSpeech) -> None:
        self._required_speaker().end(end.utterance_id)

    def _reset_speech(self, reset: ResetSpeech) -> None:
        self._required_speaker().reset(reset.utterance_id)

    def _interrupt(self, interrupt: Interrupt) -> None:
        self._reports.interrupted(interrupt.played_ms)
        if interrupt.utterance_id == self.session.utterances.utterance_id:
            self._conversation.required.interrupted(interrupt.played_ms)

    def _save(self, save: Save) -> None:
        self._stored.save(save.record, self._saved)

    def _start_conversation(self, start: StartConversation) -> None:
        self._reports.started(start.codec)
        self._speak_in(start.codec)
        self._conversation.open(self._emit, None)
        self._conversation.required.greet()

    def _resume_conversation(self, resume: ResumeConversation) -> None:
        self._speak_in(resume.codec)
        if self._conversation.current is None:
            self._conversation.open(self._emit, resume.state or None)

    def _begin_uplink(self, begin: BeginUplink) -> None:
        uplink = self._attachment.connection.transport.datagram_uplink
        if uplink is not None:
            uplink.begin(begin.mode, begin.next_sequence)

    def _close(self, close: Close) -> None:
        self._effects.clear()
        self._backlog.close()
        self._timer.release()
        if self._speaker:
            self._speaker.close()
        self._reports.ended(close)
        connection = self._attachment.connection
        connection.set_handler(None)
        self._attachment.log.debug(
            "session_released", epoch=self.session.tracker.ownership.epoch, is_record_kept=close.is_record_kept
        )
        try:
            connection.close(close.code, close.reason)
            self._conversation.close()
        finally:
            if close.forget_after_s:
                self._loop.call_later(close.forget_after_s, self._stored.delete)
            elif not close.is_record_kept:
                self._stored.delete()
            self._owner.session_ended(self)

    _CARRY_OUT: ClassVar[Mapping[type[Effect], Callable[[LiveSession, Any], None]]] = {
        **dict.fromkeys(AGENT_EFFECTS, _inform_agent),
        **dict.fromkeys((Decode, PressKey, TakeMessage, Finish), _queue),  # in the order in which the caller sent them
        Deliver: _deliver_waiting,
        Send: _send,
        Speak: _speak,
        EndSpeech: _end_speech,
        ResetSpeech: _reset_speech,
        Interrupt: _interrupt,
        Save: _save,
        StartConversation: _start_conversation,
        ResumeConversation: _resume_conversation,
        BeginUplink: _begin_uplink,
        Close: _close,
    }
    """What carries out each effect: one look-up, where a `match` would try one class after the other for each frame."""

    def _speak_in(self, codec: Codec) -> None:
        services = self._services
        self._speaker = Speaker(
            self._attachment.connection.transport,
            codec,
            services.audio,
            services.counters,
            services.lead,
            self.session.utterances,
            self._recorder,
        )

    def _required_speaker(self) -> Speaker:
        if self._speaker is None:
            raise RuntimeError(f"no speaker in state {self.session.state}")
        return self._speaker
