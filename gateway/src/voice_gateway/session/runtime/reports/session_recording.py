"""A session's recording: whose call it is, and which of its events it holds."""

from __future__ import annotations

from voice_gateway.recording.segments.recorder import CallRecorder, RecordedCall, Recordings
from voice_gateway.session.core.lifecycle.state import SessionState
from voice_gateway.session.core.session import Session
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.session.stats.events import (
    SessionDetached,
    SessionEnded,
    SessionEvent,
    SessionMigrated,
    SessionResumed,
    ToolEnded,
    ToolStarted,
    TurnCompleted,
)


def begin_recording(
    recordings: Recordings, session: Session, connection: ClientConnection, now: float
) -> CallRecorder | None:
    """Record what this worker sees of the session from now on, which is new here or was taken over."""
    identity, tracker = session.identity, session.tracker
    call = RecordedCall(
        identity.session_id,
        tracker.ownership.epoch,
        identity.agent,
        identity.subject,
        connection.transport.kind,
        connection.peer,
        tracker.recording_consent,
        is_taken_over=session.state is SessionState.DETACHED,
    )
    return recordings.begin(call, now)


def record_event(recorder: CallRecorder, event: SessionEvent, at: float) -> None:
    """Give an event to what records the session; what goes over the wire is recorded there."""
    match event:
        case TurnCompleted(turn=turn):
            recorder.event("turn", at, **turn.as_json())
        case SessionMigrated(peer=peer, gap_ms=gap_ms):
            recorder.moved(peer, gap_ms, at)
        case SessionDetached():
            recorder.event("detached", at)
        case SessionResumed(connection=connection):
            recorder.event("connected", at, connection=connection)
        case ToolStarted(call=call, name=name, side="agent"):
            recorder.event("tool_call", at, call_id=call, name=name)
        case ToolEnded(call=call, has_failed=has_failed):
            recorder.event("tool_result", at, call_id=call, is_error=has_failed)
        case SessionEnded(code=code, goes_on=goes_on):
            recorder.close(code, at, is_over=not goes_on)
