"""A call on the terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from voice_client.call.report import failure
from voice_client.cli.display import Display
from voice_client.errors import CallLost
from voice_client.events import (
    AppMessage,
    Connected,
    Flushed,
    Migration,
    PathChanged,
    StateChanged,
    ToolCalled,
    Transcript,
    Transferred,
)

MIGRATION = Migration(at_s=1.2, old="127.0.0.2:1", new="127.0.0.3:2", validated_ms=12.3, gap_ms=33.3)
BOOKING = {"film": "Metropolis", "seats": [{"row": 4, "seat": "C"}]}
LATER = {"film": "Metropolis", "seats": [{"row": 4, "seat": "D"}], "total": "9.00"}


def shown(*, is_terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, width=100, height=40, force_terminal=is_terminal, color_system=None)
    with Display(console) as display:
        for event in (
            Connected("s-1", "w-1"),
            Transcript(1, "user", "two for", False),
            Transcript(1, "user", "two for metropolis", True),
            StateChanged(1, BOOKING),
            StateChanged(2, LATER),
            PathChanged(MIGRATION),
            Flushed(1, 400),
            AppMessage({"screen": "menu"}),
            ToolCalled("c0ffee", "where"),
            Transferred("sip:desk@example.com"),
        ):
            display.show(event)
        display.summarise(replace(failure(CallLost("gone")), state=LATER, rtts_ms=(1.0,), migrations=(MIGRATION,)))
    return out.getvalue()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_terminal_shows_session_transcript_state_and_figures(is_terminal: bool) -> None:
    text = shown(is_terminal=is_terminal)
    for part in (
        "session s-1 at w-1",
        "you  two for metropolis",
        "gap 33 ms",
        "film: Metropolis",
        "- row: 4",
        "seat: D",
    ):
        assert part in text


def test_a_terminal_marks_what_the_last_state_changed() -> None:
    text = shown(is_terminal=True)
    assert "~     seat: D" in text
    assert "+ total: 9.00" in text


def test_a_file_gets_messages_tools_and_transfers() -> None:
    text = shown(is_terminal=False)
    for part in ('message: {"screen": "menu"}', "tool called: where", "transferred to sip:desk@example.com"):
        assert part in text


def test_a_file_gets_final_lines_and_the_last_state_unmarked() -> None:
    text = shown(is_terminal=False)
    assert "two for\n" not in text
    assert "seat: C" not in text
    assert "~" not in text
