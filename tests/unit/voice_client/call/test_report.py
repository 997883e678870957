"""A call in figures and on the terminal."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from voice_client.call.conversation import Conversation
from voice_client.call.report import failure, quantile
from voice_client.cli.display import Display
from voice_client.errors import AccessRefused, CallLost
from voice_client.events import Connected, Flushed, Migration, PathChanged, StateChanged, Transcript
from voicelink.wire import Ready, State
from voicelink.wire import Transcript as TranscriptMessage

MIGRATION = Migration(at_s=1.23456, old="127.0.0.2:1", new="127.0.0.3:2", validated_ms=12.345, gap_ms=33.333)
ORDER = {
    "kind": "drink-order",
    "status": "confirmed",
    "currency": "USD",
    "items": [
        {
            "quantity": 2,
            "drink": "black tea",
            "size": "large",
            "milk": None,
            "sugar_percent": 50,
            "ice": "none",
            "toppings": ["boba"],
            "price": "9.00",
        }
    ],
    "total": "9.00",
}


def test_a_report_is_plain_json() -> None:
    report = replace(
        failure(CallLost("gone")),
        transcript=(Transcript(1, "user", "hello", True), Transcript(2, "user", "hel", False)),
        migrations=(MIGRATION,),
        rtts_ms=(1.0, 2.0, 30.04),
        state=ORDER,
    )
    document = json.loads(json.dumps(report.as_json()))
    assert document["ok"] is False
    assert document["error"] == "gone"
    assert document["transcript"] == [{"turn": 1, "role": "user", "text": "hello"}]
    assert document["migrations"] == [
        {"at_s": 1.235, "from": "127.0.0.2:1", "to": "127.0.0.3:2", "validated_ms": 12.3, "gap_ms": 33.3}
    ]
    assert document["rtt_ms"] == {"n": 3, "p50": 2.0, "p99": 30.0}


@pytest.mark.parametrize(
    ("is_complete", "error", "is_ok"), [(True, None, True), (True, "x", False), (False, None, False)]
)
def test_only_a_complete_call_without_error_is_ok(is_complete: bool, error: str | None, is_ok: bool) -> None:
    report = replace(failure(AccessRefused("no")), is_complete=is_complete, error=error)
    assert report.as_json()["ok"] is is_ok


@given(st.lists(st.integers(0, 1000), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_is_a_value_that_enough_do_not_exceed(values: list[int], share: float) -> None:
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert quantile([], share) is None


def test_a_later_text_replaces_the_one_that_was_not_final() -> None:
    conversation = Conversation()
    conversation.apply(Ready(session="s", worker="w", codec=1))
    conversation.apply(TranscriptMessage(turn=1, role="user", text="one", is_final=False))
    conversation.apply(TranscriptMessage(turn=1, role="user", text="one tea", is_final=True))
    conversation.apply(TranscriptMessage(turn=1, role="agent", text="sure", is_final=True))
    assert [(line.role, line.text) for line in conversation.transcript] == [("user", "one tea"), ("agent", "sure")]


def test_an_older_state_does_not_replace_a_newer_one() -> None:
    conversation = Conversation()
    assert conversation.apply(State(revision=2, state={"n": 2})) == StateChanged(2, {"n": 2})
    assert conversation.apply(State(revision=1, state={"n": 1})) is None
    assert conversation.state == {"n": 2}


def shown(*, is_terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, width=100, height=40, force_terminal=is_terminal, color_system=None)
    with Display(console) as display:
        for event in (
            Connected("s-1", "w-1"),
            Transcript(1, "user", "two large", False),
            Transcript(1, "user", "two large black teas", True),
            StateChanged(1, ORDER),
            PathChanged(MIGRATION),
            Flushed(1, 400),
        ):
            display.show(event)
        display.summarise(replace(failure(CallLost("gone")), state=ORDER, rtts_ms=(1.0,), migrations=(MIGRATION,)))
    return out.getvalue()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_terminal_shows_who_what_and_how_much(is_terminal: bool) -> None:
    text = shown(is_terminal=is_terminal)
    for part in (
        "session s-1 at w-1",
        "you  two large black teas",
        "gap 33 ms",
        "2 x",
        "large black tea",
        "boba",
        "9.00 USD",
    ):
        assert part in text


def test_a_file_gets_only_what_is_final() -> None:
    assert "two large\n" not in shown(is_terminal=False)
