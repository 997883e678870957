"""Reports what happens to one session: log lines and counts for operators, events for watchers and the recording."""

from __future__ import annotations

from collections.abc import Callable

from voice_gateway.agent.base import (
    AgentEvent,
    CallClientTool,
    FinalTranscript,
    RecordingConsent,
    Reply,
    ReplyText,
    ToolBegan,
    ToolReturned,
)
from voice_gateway.recording.segments.recorder import CallRecorder
from voice_gateway.session.core.effects import Close
from voice_gateway.session.core.session import Session
from voice_gateway.session.runtime.connection.attachment import Attachment
from voice_gateway.session.runtime.reports.session_recording import record_event
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
from voicelink.wire import Codec

_MOST_MIGRATIONS = 64


class SessionReports:
    """Call each method as the event of its name happens; `clock` is the event loop's. No method changes the session."""

    def __init__(
        self,
        session: Session,
        attachment: Attachment,
        events: SessionEvents,
        counters: SessionCounters,
        recorder: CallRecorder | None,
        clock: Callable[[], float],
    ) -> None:
        self._session = session
        self._attachment = attachment
        self._events = events
        self._counters = counters
        self._recorder = recorder
        self._clock = clock
        self._began = clock()
        self._migrations: list[Migration] = []
        self._closed: Close | None = None

    def started(self, codec: Codec) -> None:
        """The caller's `start` was accepted; answers are encoded in `codec`."""
        self._counters.started += 1
        connection = self._attachment.connection
        self._attachment.log.info("session_started", peer=connection.peer, codec=codec.name)
        self._publish(
            SessionStarted(
                transport=connection.transport.kind,
                peer=connection.peer,
                codec=codec.name.lower(),
                agent=self._session.identity.agent,
                connection=connection.transport.connection_id,
            )
        )

    def resumed(self, *, is_restored: bool) -> None:
        """The caller is back over the connection that is attached now."""
        self._counters.resumes += 1
        connection, next_sequence = self._attachment.connection, self._session.next_sequence
        self._attachment.log.info("session_resumed", peer=connection.peer, frames=next_sequence)
        self._publish(
            SessionResumed(
                transport=connection.transport.kind,
                peer=connection.peer,
                connection=connection.transport.connection_id,
                next_sequence=next_sequence,
                is_restored=is_restored,
            )
        )

    def migrated(self, peer: str, gap_s: float) -> None:
        """The caller's validated address is `peer` now; no frame came for `gap_s` around the change."""
        was, gap_ms = self._attachment.connection.peer, round(gap_s * 1000, 1)
        self._migrations.append(Migration(round(self._clock() - self._began, 6), peer, gap_ms))
        del self._migrations[:-_MOST_MIGRATIONS]
        self._counters.migrations += 1
        self._attachment.log.info("session_migrated", was=was, peer=peer)
        self._publish(SessionMigrated(was=was, peer=peer, gap_ms=gap_ms))

    def detached(self, reason: str) -> None:
        """The connection is lost, and the caller may come back."""
        self._attachment.log.info("session_detached", reason=reason)
        self._publish(SessionDetached(reason=reason))

    def draining(self, deadline_s: float) -> None:
        """The caller is sent to another worker."""
        self._publish(SessionDraining(deadline_s=deadline_s))

    def interrupted(self, played_ms: int) -> None:
        """A reply was cut off."""
        self._counters.interruptions += 1
        self._publish(SessionInterrupted(played_ms=played_ms))

    def agent_emits(self, event: AgentEvent) -> None:
        """The session is about to follow an event of the agent."""
        if isinstance(event, FinalTranscript):
            self._counters.turns += 1
            self._turns_completed()
        elif isinstance(event, Reply):
            self._counters.replies += 1

    def agent_emitted(self, event: AgentEvent) -> None:
        """The session has followed an event of the agent."""
        match event:
            case FinalTranscript(text=text):
                self._publish(LineAdded(turn=self._session.tracker.turn, role="user", text=text))
            case Reply(text) | ReplyText(text):
                is_correction = isinstance(event, ReplyText)
                turn = self._session.tracker.turn
                self._publish(LineAdded(turn=turn, role="agent", text=text, is_correction=is_correction))
            case RecordingConsent() if self._recorder is not None:
                self._recorder.consented(self._session.tracker.recording_consent, self._clock())
            case CallClientTool(call_id, name) | ToolBegan(call_id, name):
                side = "client" if isinstance(event, CallClientTool) else "agent"
                self._publish(ToolStarted(call=call_id, name=name, side=side))
            case ToolReturned(call_id, has_failed):
                self.tool_ended(call_id, has_failed=has_failed)

    def tool_ended(self, call_id: str, *, has_failed: bool) -> None:
        """A tool of the client or of the agent returned, or failed."""
        self._publish(ToolEnded(call=call_id, has_failed=has_failed))

    def ended(self, close: Close) -> None:
        """The session is over, and so is its last turn."""
        self._closed = close
        self._turns_completed()
        code, frames, turns = close.code.name, self._session.next_sequence, self._session.tracker.turn
        self._counters.ended[code.lower()] += 1
        self._attachment.log.info("session_ended", code=code, reason=close.reason, frames=frames, turns=turns)
        self._publish(
            SessionEnded(
                code=code.lower(), reason=close.reason, frames=frames, turns=turns, goes_on=close.is_record_kept
            )
        )

    def snapshot(self) -> SessionSnapshot:
        """Describe the session as it is now, or as it ended."""
        session, connection, closed = self._session, self._attachment.connection, self._closed
        return SessionSnapshot(
            id=session.identity.session_id,
            worker=session.identity.worker,
            transport=connection.transport.kind,
            path=connection.request.path,
            peer=connection.peer,
            connection=connection.transport.connection_id,
            state=session.state.value,
            age_s=round(self._clock() - self._began, 3),
            turn=session.tracker.turn,
            revision=session.tracker.revision,
            utterance_id=session.utterances.utterance_id,
            acked_sequence=session.tracker.saves.acked_sequence,
            datagrams=connection.transport.datagrams,
            uplink=session.uplink.summary(),
            migrations=tuple(self._migrations),
            turns=session.turns.latencies.recent(),
            downlink_lead_s=round(session.utterances.lead_s, 3),
            close_code=closed.code if closed else None,
            close_reason=closed.reason if closed else None,
        )

    def _turns_completed(self) -> None:
        if self._events.is_watched or self._recorder is not None:
            for turn in self._session.turns.latencies.completed_turns():
                self._publish(TurnCompleted(turn=turn))

    def _publish(self, event: SessionEvent) -> None:
        now = self._clock()
        if self._recorder is not None:
            record_event(self._recorder, event, now)
        self._events.publish(self._session.identity.session_id, event, now)
