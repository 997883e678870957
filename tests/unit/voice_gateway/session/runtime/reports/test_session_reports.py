"""What operators and watchers are given of a session: lines, counts, events, and its description."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.unit.voice_gateway.session.fakes import REQUEST, FakeTransport
from tests.unit.voice_gateway.session.sessions import frame, new_session, start
from voice_gateway.agent.base import (
    AgentEvent,
    CallClientTool,
    FinalTranscript,
    Reply,
    ReplyText,
    ToolBegan,
    ToolReturned,
)
from voice_gateway.session.core.effects import Close
from voice_gateway.session.runtime.connection.attachment import Attachment
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.session.runtime.reports.session_reports import SessionReports
from voice_gateway.session.stats.counters import SessionCounters
from voice_gateway.session.stats.events import (
    LineAdded,
    SessionEnded,
    SessionEvent,
    SessionEvents,
    SessionMigrated,
    SessionResumed,
    SessionStarted,
    ToolEnded,
    ToolStarted,
    TurnCompleted,
)
from voicelink.wire import CloseCode, Codec


class Reported:
    def __init__(self) -> None:
        self.now = 100.0
        self.session = new_session()
        start(self.session, self.now)
        self.connection = ClientConnection(REQUEST, FakeTransport())
        self.attachment = Attachment("s-1", self.connection)
        self.counters = SessionCounters()
        self.events = SessionEvents()
        self.published: list[tuple[SessionEvent, float]] = []
        self.reports = SessionReports(self.session, self.attachment, self.events, self.counters, None, lambda: self.now)

    def watch(self) -> None:
        self.events.subscribe(lambda session_id, event, at: self.published.append((event, at)))

    def emit(self, event: AgentEvent) -> None:
        self.reports.agent_emits(event)
        self.session.agent_emitted(event, self.now)
        self.reports.agent_emitted(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event, _ in self.published if isinstance(event, kind)]


@pytest.fixture
def reported() -> Reported:
    reported = Reported()
    reported.watch()
    return reported


def test_a_start_is_a_line_an_event_and_a_count(reported: Reported) -> None:
    with capture_logs() as lines:
        reported.reports.started(Codec.OPUS)
    assert [(line["event"], line["codec"], line["session"]) for line in lines] == [("session_started", "OPUS", "s-1")]
    event = SessionStarted(transport="fake", peer=REQUEST.peer, codec="opus", agent="order", connection=None)
    assert reported.published == [(event, 100.0)]
    assert reported.counters.started == 1


def test_a_resume_names_the_connection_that_is_attached_now(reported: Reported) -> None:
    reported.session.audio_received(frame(0), reported.now)
    reported.connection.peer = "192.0.2.9:1"
    reported.reports.resumed(is_restored=False)
    [resumed] = reported.of(SessionResumed)
    assert (resumed.peer, resumed.next_sequence, resumed.is_restored) == ("192.0.2.9:1", 1, False)
    assert reported.counters.resumes == 1


def test_the_snapshot_holds_the_newest_64_migrations(reported: Reported) -> None:
    for number in range(70):
        reported.now += 1.0
        reported.reports.migrated(f"192.0.2.1:{number}", 0.0804)
    migrations = reported.reports.snapshot().migrations
    assert [migration.peer for migration in migrations] == [f"192.0.2.1:{number}" for number in range(6, 70)]
    assert (migrations[-1].at_s, migrations[-1].gap_ms) == (70.0, 80.4)
    assert reported.of(SessionMigrated)[0] == SessionMigrated(was=REQUEST.peer, peer="192.0.2.1:0", gap_ms=80.4)
    assert reported.counters.migrations == 70


def test_lines_of_both_sides_are_events_with_their_turn(reported: Reported) -> None:
    reported.session.audio_received(frame(0), reported.now)
    reported.emit(FinalTranscript("hi", 0))
    reported.emit(Reply("hel"))
    reported.emit(ReplyText("hello"))
    assert reported.of(LineAdded) == [
        LineAdded(turn=1, role="user", text="hi"),
        LineAdded(turn=1, role="agent", text="hel"),
        LineAdded(turn=1, role="agent", text="hello", is_correction=True),
    ]
    assert (reported.counters.turns, reported.counters.replies) == (1, 1)


def test_tools_are_events_with_the_side_that_runs_them(reported: Reported) -> None:
    reported.emit(CallClientTool("c-1", "here", {}, 5.0))
    reported.emit(ToolBegan("c-2", "there"))
    reported.emit(ToolReturned("c-2", True))
    reported.reports.tool_ended("c-1", has_failed=False)
    assert reported.of(ToolStarted) == [
        ToolStarted(call="c-1", name="here", side="client"),
        ToolStarted(call="c-2", name="there", side="agent"),
    ]
    assert reported.of(ToolEnded) == [ToolEnded(call="c-2", has_failed=True), ToolEnded(call="c-1", has_failed=False)]


def test_a_turn_is_complete_as_the_next_one_begins_and_the_last_one_as_the_session_ends(reported: Reported) -> None:
    for number in range(2):
        reported.session.audio_received(frame(number), reported.now)
        reported.emit(FinalTranscript("hi", number))
        assert len(reported.of(TurnCompleted)) == number
    close = Close(CloseCode.DRAINING, "elsewhere", is_record_kept=True)
    reported.reports.ended(close)
    assert [event.turn.turn for event in reported.of(TurnCompleted)] == [1, 2]
    assert reported.published[-1][0] == SessionEnded(
        code="draining", reason="elsewhere", frames=2, turns=2, goes_on=True
    )
    assert reported.counters.ended == {"draining": 1}
    snapshot = reported.reports.snapshot()
    assert (snapshot.close_code, snapshot.close_reason) == (CloseCode.DRAINING, "elsewhere")


def test_turns_are_kept_for_those_who_watch_later() -> None:
    reported = Reported()
    for number in range(2):
        reported.session.audio_received(frame(number), reported.now)
        reported.emit(FinalTranscript("hi", number))
    reported.watch()
    reported.reports.ended(Close(CloseCode.NORMAL, "bye"))
    assert [event.turn.turn for event in reported.of(TurnCompleted)] == [1, 2]
