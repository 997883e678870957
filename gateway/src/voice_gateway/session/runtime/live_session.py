"""A session in operation: carries out the effects of `Session` with a transport, an agent, codecs and a store."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from voice_gateway.access.uplink_limits import MediaRateLimiter
from voice_gateway.agent.base import (
    Agent,
    AgentEvent,
    AppMessage,
    CallClientTool,
    ClientToolResult,
    Conversation,
    FinalTranscript,
    RecordingConsent,
    Reply,
    ReplyAudio,
    ReplyText,
    SessionView,
    ToolBegan,
    ToolReturned,
    UserAudio,
    UserText,
)
from voice_gateway.errors import loggable
from voice_gateway.recording.segments.recorder import RecordedCall, Recordings
from voice_gateway.session.core.effects import (
    BeginUplink,
    Close,
    Decode,
    Deliver,
    Effect,
    EndSpeech,
    Finish,
    Greet,
    InjectText,
    Interrupt,
    PressKey,
    ReportPlayback,
    ReportPlayed,
    ReportSaved,
    ReportToolResult,
    ResetSpeech,
    ResumeConversation,
    Save,
    SayAgain,
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
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.session.runtime.reports.recorded_events import record_event
from voice_gateway.session.runtime.saving.ownership import reclaim
from voice_gateway.session.runtime.speaker import Speaker
from voice_gateway.session.runtime.uplink.backlog import FRAMES_BEHIND, AgentInput, Backlog, UplinkScheduler
from voice_gateway.session.stats.counters import SessionCounters
from voice_gateway.session.stats.events import (
    LineAdded,
    SessionDetached,
    SessionDraining,
    SessionEnded,
    SessionEvent,
    SessionEvents,
    SessionInterrupted,
    SessionMigrated,
    SessionResumed,
    SessionStarted,
    ToolEnded,
    ToolStarted,
    TurnCompleted,
)
from voice_gateway.session.stats.snapshot import Migration, SessionSnapshot
from voice_gateway.store.base import Fenced, SessionRecord, SessionStore
from voice_gateway.transport.base import TransportHandler
from voicelink.net.deadline_timer import DeadlineTimer
from voicelink.wire import (
    App,
    AudioFrame,
    ClientMessage,
    CloseCode,
    Codec,
    Malformed,
    NumberedClientMessage,
    Played,
    Resume,
    Text,
    ToolResult,
)

_MOST_MIGRATIONS = 64
_MOST_UNSENT_S = 1_800
"""Audio of an agent that makes more and more without end."""
_log = structlog.get_logger("voice_gateway.session")


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that the sessions of one worker share."""

    agent: Agent
    audio: AgentAudio
    store: SessionStore
    counters: SessionCounters
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    """Runs a coroutine as a task that the worker waits for when it stops."""
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
        self._connection = connection
        self._services = services
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._migrations: list[Migration] = []
        self._closed: Close | None = None
        self._conversation: Conversation | None = None
        self._speaker: Speaker | None = None
        self._decoder = services.audio.decoder()
        self._bytes_per_s = services.audio.input_rate_hz * services.audio.sample_bytes
        self._backlog = Backlog(
            services.uplinks, lambda effect: self._run((Deliver(effect),)), session.limits.waiting_bytes
        )
        self._media_rate_limiter = MediaRateLimiter(self._began, has_resumed=session.state is SessionState.DETACHED)
        self._saving: asyncio.Task[None] | None = None
        self._effects: deque[Effect] = deque()
        self._is_running = False
        self._timer = DeadlineTimer(self._loop, self._tick)
        recordings = services.recordings
        self._recorder = None if recordings is None else recordings.begin(self._recorded_call(), self._began)
        connection.set_handler(self)
        self._arm()

    def start(self, agreement: Agreement, early: Sequence[EarlyFrame]) -> None:
        """Begin a new session, and take the frames that overtook the caller's `start`."""
        self._apply(self.session.start(agreement, self._loop.time()))
        for frame in early:
            self._take_frame(frame.frame, frame.arrived_at)

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
        former, self._connection = self._connection, connection
        if former is not connection and former.is_open:
            former.refuse(CloseCode.TAKEN_OVER, "the session goes on over a newer connection")
            self.lost("taken over by a newer connection")
        connection.set_handler(self)
        self._services.counters.resumes += 1
        self._log.info("session_resumed", peer=connection.peer, frames=self.session.next_sequence)
        if self._recorder is not None:
            self._recorder.received(resume, self._loop.time())
        self._publish(
            SessionResumed(
                transport=connection.transport.kind,
                peer=connection.peer,
                connection=connection.transport.connection_id,
                next_sequence=self.session.next_sequence,
                is_restored=former is connection,
            )
        )
        if has_gap and self._conversation is not None:
            self._conversation.close()
            self._conversation = None
            self._backlog.clear()
            self._decoder = self._services.audio.decoder()
        self._apply(self.session.resume(agreement, resume, token, self._loop.time(), has_gap=has_gap))

    def fence(self) -> None:
        """Another worker has the session: end it here, and leave its record alone."""
        effects = self.session.fenced()
        if effects:
            self._log.debug("session_fenced", epoch=self.session.tracker.ownership.epoch)
        self._apply(effects)

    @property
    def _log(self) -> Any:
        """Bound anew for each line: the log level may change while the session goes on."""
        transport = self._connection.transport
        connection = {} if transport.connection_id is None else {"connection": transport.connection_id}
        return _log.bind(session=self.session.identity.session_id, transport=transport.kind, **connection)

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

    def audio_received(self, frame: AudioFrame) -> None:
        """An uplink frame arrived. Deadlines only move away from it, so the timer is left alone."""
        self._take_frame(frame, self._loop.time())

    def _take_frame(self, frame: AudioFrame, now: float) -> None:
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
        now = self._loop.time()
        gap_s = self.session.turns.latencies.migrated(self.session.tracker.turn, now)
        self._migrations.append(Migration(round(now - self._began, 6), peer, round(gap_s * 1000, 1)))
        del self._migrations[:-_MOST_MIGRATIONS]
        self._services.counters.migrations += 1
        self._log.info("session_migrated", was=self._connection.peer, peer=peer)
        self._publish(SessionMigrated(was=self._connection.peer, peer=peer, gap_ms=round(gap_s * 1000, 1)))

    def lost(self, reason: str) -> None:
        if self._speaker:
            self._speaker.close()
        self._apply(self.session.lost(reason, self._loop.time()))
        if self.session.state is SessionState.DETACHED:
            self._log.info("session_detached", reason=reason)
            self._publish(SessionDetached(reason=reason))

    def left(self, reason: str) -> None:
        self._apply(self.session.left(reason))

    def drain(self, deadline_s: float) -> None:
        self._publish(SessionDraining(deadline_s=deadline_s))
        self._apply(self.session.drain(deadline_s, self._loop.time()))

    def operator_asked(self, action: OperatorAction) -> str | None:
        """Do what an operator asks, or return why that cannot be."""
        effects = self.session.operator_asked(action, self._loop.time())
        if isinstance(effects, str):
            return effects
        self._log.info("session_operated", action=type(action).__name__)
        self._apply(effects)
        return None

    def end(self, code: CloseCode, reason: str) -> None:
        self._apply(self.session.end(code, reason))

    def snapshot(self) -> SessionSnapshot:
        session = self.session
        return SessionSnapshot(
            id=session.identity.session_id,
            worker=session.identity.worker,
            transport=self._connection.transport.kind,
            path=self._connection.request.path,
            peer=self._connection.peer,
            connection=self._connection.transport.connection_id,
            state=session.state.value,
            age_s=round(self._loop.time() - self._began, 3),
            turn=session.tracker.turn,
            revision=session.tracker.revision,
            utterance_id=session.utterances.utterance_id,
            acked_sequence=session.tracker.saves.acked_sequence,
            datagrams=self._connection.transport.datagrams,
            uplink=session.uplink.summary(),
            migrations=tuple(self._migrations),
            turns=self.session.turns.latencies.recent(),
            downlink_lead_s=round(session.utterances.lead_s, 3),
            close_code=self._closed.code if self._closed else None,
            close_reason=self._closed.reason if self._closed else None,
        )

    def _apply(self, effects: Sequence[Effect]) -> None:
        self._run(effects)
        self._arm()

    def _run(self, effects: Sequence[Effect]) -> None:
        """Carry effects out in order, also those that carrying out others brought about."""
        self._effects.extend(effects)
        if self._is_running:
            return
        self._is_running = True
        try:
            while self._effects:
                effect = self._effects.popleft()
                try:
                    self._carry_out(effect)
                except Exception as error:
                    # one session's failure, an agent's above all, must not reach the transport that others share
                    self._log.error("session_effect_failed", effect=type(effect).__name__, **loggable(error))
                    self._effects.clear()
                    self._effects.extend(self.session.end(CloseCode.INTERNAL, "the worker failed"))
        finally:
            self._is_running = False

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Decode() | PressKey() | TakeMessage() | Finish():
                self._queue(effect)
            case Deliver(waiting):
                self._deliver(waiting)
            case Send(message):
                self._connection.transport.send(message)
                if self._recorder is not None:
                    self._recorder.sent(message, self._loop.time())
            case Speak(utterance_id, pcm):
                self._speak(utterance_id, pcm)
            case EndSpeech(utterance_id):
                self._require_speaker().end(utterance_id)
            case ResetSpeech(utterance_id):
                self._require_speaker().reset(utterance_id)
            case Interrupt(played_ms, utterance_id):
                self._services.counters.interruptions += 1
                self._publish(SessionInterrupted(played_ms=played_ms))
                if utterance_id == self.session.utterances.utterance_id:
                    self._require_conversation().interrupted(played_ms)
            case ReportPlayed(played_ms):
                if self._conversation is not None:
                    self._conversation.played(played_ms)
            case ReportPlayback(playback):
                self._require_conversation().playback_finished(playback)
            case ReportToolResult(result):
                self._require_conversation().client_tool_returned(result)
            case ReportSaved(checkpoint):
                if self._conversation is not None:
                    self._conversation.saved(checkpoint)
            case Save(record):
                self._saving = self._services.spawn(self._save(record))
            case StartConversation(codec):
                self._start_conversation(codec)
            case ResumeConversation(codec, state):
                self._resume_conversation(codec, state)
            case Greet(is_after_gap):
                self._greet(is_after_gap)
            case SayAgain(text):
                self._require_conversation().say_again(text)
            case InjectText(text):
                self._require_conversation().text_received(UserText(None, text))
            case BeginUplink(mode, next_sequence):
                uplink = self._connection.transport.datagram_uplink
                if uplink is not None:
                    uplink.begin(mode, next_sequence)
            case Close():
                self._close(effect)

    def _speak(self, utterance_id: int, pcm: bytes) -> None:
        speaker = self._require_speaker()
        speaker.speak(utterance_id, pcm)
        if speaker.waiting_s > _MOST_UNSENT_S:
            reason = f"the agent has said more than {_MOST_UNSENT_S} s that wait to be played"
            self._run(self.session.end(CloseCode.AGENT_FAILED, reason))

    def _queue(self, effect: AgentInput) -> None:
        is_due = self._backlog.is_due(effect)
        if is_due:
            self._deliver(effect)
        elif is_due is None:
            self._run(self.session.end(CloseCode.OVERLOADED, "more audio arrives than can wait to be decoded"))

    def _deliver(self, effect: AgentInput) -> None:
        match effect:
            case Decode():
                self._decode(effect.frame)  # by name, which costs a fifth of a pattern's
            case PressKey(digit):
                self._press(digit)
            case TakeMessage(message):
                self._take_message(message)
            case Finish():
                self._require_conversation().finish()

    def _decode(self, frame: AudioFrame) -> None:
        audio = self._decoder.decode(frame)
        if isinstance(audio, Malformed):
            self._run(self.session.malformed_received(audio))
            return
        audio_s = len(audio) / self._bytes_per_s
        self._services.uplinks.spent(audio_s)
        exceeded = self._media_rate_limiter.take(audio_s, self._loop.time())
        if exceeded is not None:
            self._run(self.session.malformed_received(self._connection.rate_limiter.fault(exceeded)))
        else:
            self._require_conversation().hear(UserAudio(frame.sequence, audio))

    def _greet(self, is_after_gap: bool) -> None:
        conversation = self._require_conversation()
        if is_after_gap:
            conversation.greet_again()
        else:
            conversation.greet()

    def _press(self, digit: str) -> None:
        self._require_conversation().pressed(digit)

    def _take_message(self, message: NumberedClientMessage) -> None:
        conversation = self._require_conversation()
        match message:
            case Text(number=number, text=text):
                conversation.text_received(UserText(number, text))
            case App(number=number, data=data):
                conversation.app_message_received(AppMessage(number, data))
            case ToolResult(number=number, call_id=call_id, result=result, error=error):
                self._publish(ToolEnded(call=call_id, has_failed=error is not None))
                conversation.client_tool_returned(ClientToolResult(call_id, result, error, number))

    def _start_conversation(self, codec: Codec) -> None:
        self._services.counters.started += 1
        transport = self._connection.transport
        self._log.info("session_started", peer=self._connection.peer, codec=codec.name)
        self._publish(
            SessionStarted(
                transport=transport.kind,
                peer=self._connection.peer,
                codec=codec.name.lower(),
                agent=self.session.identity.agent,
                connection=transport.connection_id,
            )
        )
        self._speak_in(codec)
        self._open_conversation(None).greet()

    def _resume_conversation(self, codec: Codec, state: Mapping[str, Any]) -> None:
        self._speak_in(codec)
        if self._conversation is None:
            self._open_conversation(state or None)

    def _open_conversation(self, state: Mapping[str, Any] | None) -> Conversation:
        tracker = self.session.tracker
        view = SessionView(
            tracker.session_id,
            tracker.turn,
            tracker.private_state,
            lambda: tracker.transcript.since(0),
            lambda: self.session.state is not SessionState.DETACHED,
            tracker.ownership.epoch,
        )
        self._conversation = conversation = self._services.agent.converse(self._emit, state)
        conversation.opened(view)
        return conversation

    def _speak_in(self, codec: Codec) -> None:
        services = self._services
        self._speaker = Speaker(
            self._connection.transport,
            codec,
            services.audio,
            services.counters,
            services.lead,
            self.session.utterances,
            self._recorder,
        )

    def _emit(self, event: AgentEvent) -> None:
        if isinstance(event, ReplyAudio):  # deadlines only move away from it, so the timer is left alone
            self._run(self.session.agent_emitted(event, self._loop.time()))
            return
        if isinstance(event, FinalTranscript):
            self._services.counters.turns += 1
            self._report_turns()
        elif isinstance(event, Reply):
            self._services.counters.replies += 1
        self._apply(self.session.agent_emitted(event, self._loop.time()))
        match event:
            case FinalTranscript(text=text):
                self._publish(LineAdded(turn=self.session.tracker.turn, role="user", text=text))
            case Reply(text) | ReplyText(text):
                is_correction = isinstance(event, ReplyText)
                turn = self.session.tracker.turn
                self._publish(LineAdded(turn=turn, role="agent", text=text, is_correction=is_correction))
            case RecordingConsent() if self._recorder is not None:
                self._recorder.consented(self.session.tracker.recording_consent, self._loop.time())
            case CallClientTool(call_id, name) | ToolBegan(call_id, name):
                side = "client" if isinstance(event, CallClientTool) else "agent"
                self._publish(ToolStarted(call=call_id, name=name, side=side))
            case ToolReturned(call_id, has_failed):
                self._publish(ToolEnded(call=call_id, has_failed=has_failed))

    async def _save(self, record: SessionRecord) -> None:
        if self._recorder is not None:
            # another worker goes on behind what the record holds, and the caller does not send that again
            await self._recorder.flushed()
        try:
            await self._services.store.save(record)
        except Fenced:
            await self._overtaken(record)
        except Exception as error:  # a foreign store may raise anything; the session saves again
            self._services.counters.save_failures += 1
            self._services.counters.is_store_away = True
            self._log.warning("session_save_failed", revision=record.revision, error=str(error))
            self._apply(self.session.save_failed(record.revision, self._loop.time()))
        else:
            self._services.counters.saves += 1
            self._services.counters.is_store_away = False
            self._apply(self.session.saved(record.revision, self._loop.time()))

    async def _overtaken(self, record: SessionRecord) -> None:
        """The store holds a newer claim than the record: another worker's, or our own whose answer is late or lost."""
        tracker = self.session.tracker
        if self.session.state is SessionState.CLOSED:
            return
        if record.epoch == tracker.ownership.epoch and not await reclaim(self._services.store, tracker):
            self.fence()
        else:
            self._apply(self.session.save_failed(record.revision, self._loop.time()))

    def _forget(self) -> None:
        if self._saving is not None:
            self._services.spawn(self._delete(self._saving))

    async def _delete(self, saving: asyncio.Task[None]) -> None:
        await asyncio.wait([saving])
        try:
            await self._services.store.delete(self.session.identity.session_id, self.session.tracker.ownership.epoch)
        except Exception as error:  # a foreign store may raise anything; the record expires by itself
            self._log.warning("session_delete_failed", error=str(error))
        else:
            self._log.debug("session_record_deleted", epoch=self.session.tracker.ownership.epoch)

    def _report_turns(self) -> None:
        if self._services.events.is_watched or self._recorder is not None:
            for turn in self.session.turns.latencies.completed_turns():
                self._publish(TurnCompleted(turn=turn))

    def _publish(self, event: SessionEvent) -> None:
        now = self._loop.time()
        if self._recorder is not None:
            record_event(self._recorder, event, now)
        self._services.events.publish(self.session.identity.session_id, event, now)

    def _close(self, close: Close) -> None:
        self._closed = close
        self._report_turns()
        self._effects.clear()
        self._backlog.close()
        self._timer.release()
        if self._speaker:
            self._speaker.close()
        counters = self._services.counters
        counters.ended[close.code.name.lower()] += 1
        self._log.info(
            "session_ended",
            code=close.code.name,
            reason=close.reason,
            frames=self.session.next_sequence,
            turns=self.session.tracker.turn,
        )
        self._publish(
            SessionEnded(
                code=close.code.name.lower(),
                reason=close.reason,
                frames=self.session.next_sequence,
                turns=self.session.tracker.turn,
                goes_on=close.is_record_kept,
            )
        )
        conversation, self._conversation = self._conversation, None
        self._connection.set_handler(None)
        self._log.debug(
            "session_released", epoch=self.session.tracker.ownership.epoch, is_record_kept=close.is_record_kept
        )
        try:
            self._connection.close(close.code, close.reason)
            if conversation is not None:
                conversation.close()
        finally:
            if close.forget_after_s:
                self._loop.call_later(close.forget_after_s, self._forget)
            elif not close.is_record_kept:
                self._forget()
            self._owner.session_ended(self)

    def _recorded_call(self) -> RecordedCall:
        identity, tracker, connection = self.session.identity, self.session.tracker, self._connection
        return RecordedCall(
            identity.session_id,
            tracker.ownership.epoch,
            identity.agent,
            identity.subject,
            connection.transport.kind,
            connection.peer,
            tracker.recording_consent,
            is_taken_over=self.session.state is SessionState.DETACHED,
        )

    def _arm(self) -> None:
        deadline = self.session.deadline
        if deadline is not None:
            self._timer.set(deadline)

    def _tick(self, now: float) -> None:
        self._apply(self.session.tick(now))

    def _require_conversation(self) -> Conversation:
        if self._conversation is None:
            raise RuntimeError(f"no conversation in state {self.session.state}")
        return self._conversation

    def _require_speaker(self) -> Speaker:
        if self._speaker is None:
            raise RuntimeError(f"no speaker in state {self.session.state}")
        return self._speaker
