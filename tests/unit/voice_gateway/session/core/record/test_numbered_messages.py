"""The numbered messages of a session: repeats, losses of workers, bounds."""

from __future__ import annotations

import pytest

from voice_gateway.session.core.record.numbered_messages import NumberedMessages
from voicelink.wire import App, Malformed, NumberedServerMessage, Text, ToolCall, Transfer, encode_message


def app(n: int) -> App:
    return App(number=0, data={"n": n})


def numbers(messages: list[NumberedServerMessage]) -> list[int]:
    return [message.number for message in messages]


def attached(next_message: int | None = 0, messages: NumberedMessages | None = None) -> NumberedMessages:
    messages = messages or NumberedMessages()
    messages.attached(next_message)
    return messages


def test_a_message_is_sent_once_it_is_saved_and_once_a_connection() -> None:
    messages = attached()
    messages.add(app(1), revision=4)
    messages.add(app(2), revision=6)
    assert messages.due(3) == []
    assert numbers(messages.due(5)) == [0]
    assert messages.due(5) == []
    messages.attached(0)
    assert numbers(messages.due(6)) == [0, 1]


def test_a_message_that_the_client_has_is_not_repeated() -> None:
    messages = attached()
    for n in range(3):
        messages.add(app(n), revision=1)
    assert messages.acknowledged(0)
    messages.attached(2)
    assert numbers(messages.due(1)) == [2]
    assert not messages.acknowledged(3)


def test_another_worker_goes_on_with_the_numbers_of_the_record() -> None:
    messages = attached()
    messages.received(Text(number=0, text="hello"))
    messages.reach(0)
    messages.add(app(1), revision=1)
    messages.add(app(2), revision=1)
    record = messages.to_record()
    other = attached(1, NumberedMessages(record))
    assert other.next_number == 1
    assert numbers(other.due(0)) == [1]
    other.add(app(3), revision=0)
    assert numbers(other.due(0)) == [2]
    assert not other.received(Text(number=0, text="hello"))


def test_a_message_without_saved_effect_is_taken_again_by_another_worker() -> None:
    messages = attached()
    assert messages.received(Text(number=0, text="hello"))
    assert not messages.received(Text(number=0, text="hello"))
    assert messages.unacked == 1
    assert NumberedMessages(messages.to_record()).received(Text(number=0, text="hello"))


def test_a_client_that_was_at_a_worker_without_messages_is_ahead_of_the_record() -> None:
    messages = attached(300)
    assert messages.received(Text(number=500, text="hello"))
    assert messages.unacked == 1
    messages.add(app(1), revision=0)
    assert numbers(messages.due(0)) == [300]


def test_a_call_that_is_kept_is_not_added_again_nor_a_second_transfer() -> None:
    messages = attached()
    call = ToolCall(number=0, call_id="a", name="where", arguments={})
    for message in (call, call, Transfer(number=0, target="x"), Transfer(number=0, target="x")):
        assert messages.add(message, revision=0) is None
    assert numbers(messages.due(0)) == [0, 1]
    assert messages.is_transferring


def test_the_oldest_messages_of_the_application_are_left_out_and_no_calls() -> None:
    messages = attached(None)
    messages.add(ToolCall(number=0, call_id="a", name="where", arguments={}), revision=0)
    for n in range(300):
        messages.add(app(n), revision=0)
    messages.attached(0)
    assert numbers(messages.due(0)) == [0, *range(46, 301)]
    large = attached(None)
    for _ in range(40):
        large.add(App(number=0, data={"long": "x" * 16_000}), revision=0)
    record = large.to_record()
    assert record is not None
    assert sum(map(len, record.kept)) <= 262_144


def test_more_messages_than_may_be_unacked_are_too_many() -> None:
    messages = attached()
    for number in range(256):
        messages.received(Text(number=number, text="again"))
    assert not messages.is_overloaded
    messages.received(Text(number=256, text="again"))
    assert messages.is_overloaded
    messages.reach(10)
    assert messages.unacked == 246


@pytest.mark.parametrize(
    "data", [{"blob": b"1"}, {"n": float("nan")}, {"long": "x" * 16_384}, {"at": object()}, {"n": 1 << 70}]
)
def test_what_an_agent_cannot_send_is_a_fault_and_takes_no_number(data: dict[str, object]) -> None:
    messages = attached()
    assert isinstance(messages.add(App(number=0, data=data), revision=0), Malformed)
    messages.add(app(1), revision=0)
    assert numbers(messages.due(0)) == [0]


def test_what_the_record_keeps_are_the_bytes_on_the_wire() -> None:
    messages = attached()
    messages.add(app(1), revision=0)
    record = messages.to_record()
    assert record is not None
    assert record.kept == (encode_message(App(number=0, data={"n": 1})),)
    assert NumberedMessages().to_record() is None
