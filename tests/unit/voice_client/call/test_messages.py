"""Numbered messages of the Python client: kept until acknowledged, taken once."""

from __future__ import annotations

from typing import Any

import pytest

from voice_client.call.messages import Messages
from voice_client.errors import MessageError
from voicelink.wire import App, Text, ToolResult


def text(words: str) -> Text:
    return Text(number=0, text=words)


def test_messages_are_kept_until_acknowledged_and_sent_again_in_order() -> None:
    messages = Messages()
    for words in ("one", "two", "three"):
        messages.add(text(words))
    assert messages.acknowledge(0)
    again = messages.attached(2)
    assert again is not None
    assert [(each.number, each.text) for each in again if isinstance(each, Text)] == [(2, "three")]
    assert messages.unacked == 2
    assert messages.acknowledge(2)
    assert messages.unacked == 0
    assert not messages.acknowledge(3)


def test_a_message_of_the_server_is_taken_once_and_a_gap_is_passed_over() -> None:
    messages = Messages()
    taken = [messages.received(App(number=number, data={})) for number in (0, 0, 1, 5, 4, 5)]
    assert taken == [True, False, True, True, False, False]
    assert messages.next_expected == 6


def test_a_server_that_wants_what_was_not_sent_is_faulty() -> None:
    assert Messages().attached(1) is None


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (text(""), "the message cannot be sent"),
        (text("x" * 4_001), "the message cannot be sent"),
        (App(number=0, data={"at": object()}), "plain values alone"),
        (App(number=0, data={"blob": b"1"}), "the message cannot be sent"),
        (App(number=0, data={"n": float("inf")}), "the message cannot be sent"),
        (App(number=0, data={"long": "x" * 16_384}), "at most 16384 bytes"),
    ],
)
def test_what_cannot_be_sent_is_refused_and_takes_no_number(message: Any, reason: str) -> None:
    messages = Messages()
    with pytest.raises(MessageError, match=reason):
        messages.add(message)
    assert messages.add(text("hello")).number == 0


def test_too_many_messages_are_refused_but_not_the_answers_of_tools() -> None:
    messages = Messages()
    for _ in range(192):
        messages.add(text("again"))
    with pytest.raises(MessageError, match="the last 192 messages"):
        messages.add(text("again"))
    assert messages.add(ToolResult(number=0, call_id="a")).number == 192


def test_a_server_without_messages_is_sent_none_and_what_waits_is_kept() -> None:
    messages = Messages()
    messages.add(text("one"))
    assert messages.attached(None) == []
    with pytest.raises(MessageError, match="takes neither text nor messages"):
        messages.add(text("two"))
    messages.add(ToolResult(number=0, call_id="a"))
    assert len(messages.attached(0) or ()) == 2
