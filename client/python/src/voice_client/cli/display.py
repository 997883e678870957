"""A call on the terminal: session and worker, path, transcript, and the agent's state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from voice_client.call.conversation import TranscriptLines
from voice_client.call.report import CallReport
from voice_client.cli.state_list import state_list
from voice_client.cli.turn_table import turn_table
from voice_client.events import (
    AppMessage,
    Closed,
    Connected,
    Draining,
    Event,
    Flushed,
    Interrupted,
    PathChanged,
    Resumed,
    SinkFailed,
    StateChanged,
    ToolCalled,
    Transcript,
    Transferred,
)

_ROLE_STYLE = {"user": "bold cyan", "agent": "bold green"}
_ROLE_NAME = {"user": "you", "agent": "agent"}
_LINES_ABOVE_TRANSCRIPT = 16


class Display:
    """Shows the events it is given: live on a terminal, a line each where output goes to a file."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._connection = Text("connecting", style="dim")
        self._path = Text("")
        self._transcript = TranscriptLines()
        self._state: Mapping[str, Any] = {}
        self._state_before: Mapping[str, Any] | None = None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, event: Event) -> None:
        """Take an event into the picture."""
        line = self._apply(event)
        if self._live is not None:
            self._live.update(self._picture(), refresh=True)
        elif line is not None:
            self._console.print(line)

    def summarise(self, report: CallReport) -> None:
        """Show what the call came to."""
        if self._live is None and report.state:
            self._console.print(state_panel(report.state))
        if report.turns:
            self._console.print(turn_table(report.turns))
        self._console.print(summary(report))

    def _apply(self, event: Event) -> Text | None:
        match event:
            case Connected():
                self._transcript.resumed()
                self._connection = Text.assemble("session ", (event.session, "bold"), " at ", (event.worker, "bold"))
                return self._connection
            case PathChanged():
                self._path = path_line(event)
                return self._path
            case Transcript():
                self._transcript.take(event)
                return spoken_line(event) if event.is_final else None
            case StateChanged():
                self._state_before, self._state = self._state or None, event.state
            case Flushed():
                return Text(f"interrupted after {event.played_ms / 1000:.1f} s", style="dim")
            case Draining():
                self._path = Text(f"the worker goes away within {event.deadline_s:g} s", style="yellow")
                return self._path
            case Interrupted():
                self._path = Text(f"interrupted: {event.reason}", style="yellow")
                return self._path
            case Resumed():
                self._path = Text.assemble("goes on at ", (event.worker, "bold"), f" after {event.gap_ms:.0f} ms")
                return self._path
            case AppMessage():
                return Text.assemble("message: ", (json.dumps(event.data, ensure_ascii=False), "bold"))
            case ToolCalled():
                return Text.assemble("tool called: ", (event.name, "bold"))
            case Transferred():
                return Text.assemble("transferred to ", (event.target, "bold"))
            case SinkFailed():
                self._path = Text(f"{event.error}; the call goes on", style="yellow")
                return self._path
            case Closed():
                self._connection.append(" - ended", style="dim")
        return None

    def _picture(self) -> RenderableType:
        room = max(4, self._console.height - _LINES_ABOVE_TRANSCRIPT)
        said = [spoken_line(line) for line in self._transcript.lines[-room:]]
        parts: list[RenderableType] = [self._connection]
        if self._path.plain:
            parts.append(self._path)
        parts.append(Panel(Group(*said) if said else Text("…", style="dim"), title="transcript", title_align="left"))
        if self._state:
            parts.append(state_panel(self._state, self._state_before))
        return Group(*parts)


def spoken_line(line: Transcript) -> Text:
    """One line of the transcript; dim while it may still change."""
    head = (f"{_ROLE_NAME[line.role]:>5}  ", _ROLE_STYLE[line.role])
    return Text.assemble(head, (line.text, "" if line.is_final else "dim italic"))


def path_line(event: PathChanged) -> Text:
    """A migration in a line."""
    moved = event.migration
    return Text.assemble(
        f"{moved.old} → ",
        (moved.new, "bold"),
        f"  validated in {moved.validated_ms:.0f} ms, gap ",
        (f"{moved.gap_ms:.0f} ms", "bold yellow"),
    )


def state_panel(state: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> RenderableType:
    """The agent's state, marked where it differs from the state `before`."""
    return Panel(state_list(state, before), title="state", title_align="left", expand=False)


def summary(report: CallReport) -> Text:
    """The figures of a call in a line."""
    figures = report.as_json()
    parts = [f"{report.frames_acked} of {report.frames_sent} frames acked"]
    if report.rtts_ms:
        parts.append(f"round trip p50 {figures['rtt_ms']['p50']} ms, p99 {figures['rtt_ms']['p99']} ms")
    if report.reply_latencies_ms:
        parts.append(f"slowest answer after {max(report.reply_latencies_ms):.0f} ms")
    if report.migrations:
        parts.append(
            f"worst gap in {len(report.migrations)} migrations {max(m.gap_ms for m in report.migrations):.0f} ms"
        )
    if report.resumes:
        parts.append(
            f"worst gap in {len(report.resumes)} resumes {max(resumed.gap_ms for resumed in report.resumes):.0f} ms"
        )
    return Text(" · ".join(parts), style="dim")
