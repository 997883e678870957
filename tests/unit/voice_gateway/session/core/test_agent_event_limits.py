"""What an agent emits fits into a session record and into a control message, or the reason is one sentence."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from voice_gateway.agent.base import (
    MAX_PRIVATE_STATE_BYTES,
    AgentEvent,
    FinalTranscript,
    NoSpeechUpTo,
    PartialTranscript,
    Reply,
    ReplyText,
    SendAppMessage,
    StateChanged,
)
from voice_gateway.session.core.agent_event_limits import LONGEST_TEXT, unsavable, unsendable
from voicelink.wire import MAX_CONTROL_BYTES, Transcript, encode_message

BEYOND = "a" * (LONGEST_TEXT + 1)


@pytest.mark.parametrize(
    "event", [PartialTranscript(BEYOND), FinalTranscript(BEYOND, 0), Reply(BEYOND), ReplyText(BEYOND)]
)
def test_a_text_longer_than_a_message_takes_is_not_sent(event: AgentEvent) -> None:
    assert unsendable(event) == "the agent's text has 16001 characters, a client takes 16000 at once"


def test_the_longest_text_of_any_characters_fits_into_a_message() -> None:
    text = "\N{GRINNING FACE}" * LONGEST_TEXT
    assert unsendable(Reply(text)) is None
    message = Transcript(turn=2**53, role="agent", text=text, is_final=False)
    assert len(encode_message(message)) <= MAX_CONTROL_BYTES


def test_a_state_larger_than_a_message_takes_is_not_sent() -> None:
    fault = unsendable(StateChanged({"a": "b" * MAX_CONTROL_BYTES}))
    assert fault is not None
    assert fault.startswith("the agent's state has ")
    assert unsendable(StateChanged({"a": "b" * (MAX_CONTROL_BYTES - 200)})) is None


def test_a_private_state_larger_than_a_record_takes_is_not_saved() -> None:
    overhead = len(msgspec.msgpack.encode({"a": "b" * MAX_PRIVATE_STATE_BYTES})) - MAX_PRIVATE_STATE_BYTES
    whole = {"a": "b" * (MAX_PRIVATE_STATE_BYTES - overhead)}
    assert unsavable(StateChanged(private_state=whole)) is None
    fault = unsavable(StateChanged(private_state={"a": whole["a"] + "b"}))
    assert fault is not None
    assert f"{MAX_PRIVATE_STATE_BYTES + 1} bytes" in fault


@pytest.mark.parametrize("value", [object(), 1 << 80], ids=["an object", "a large number"])
def test_what_is_not_plain_is_neither_saved_nor_sent(value: Any) -> None:
    assert unsavable(StateChanged(private_state={"a": value})) == (
        "the agent's private state is not plain maps, lists, strings and numbers"
    )
    assert unsendable(StateChanged({"a": value})) == "the agent's state is not plain maps, lists, strings and numbers"


@pytest.mark.parametrize("event", [NoSpeechUpTo(3), StateChanged(), SendAppMessage({"a": 1}), Reply("hi")])
def test_everything_else_is_saved_and_sent(event: AgentEvent) -> None:
    assert unsavable(event) is None
    assert unsendable(event) is None
