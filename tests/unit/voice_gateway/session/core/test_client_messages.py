"""Messages between application and agent in a session: order of saving and sending, faults, transfer, older clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.unit.voice_gateway.session.sessions import AUDIO, LIMITS, closing, new_session, save
from voice_gateway.agent.base import (
    AgentEvent,
    CallClientTool,
    CancelClientTool,
    FinalTranscript,
    HangUp,
    SendAppMessage,
    StateChanged,
    TransferCall,
)
from voice_gateway.session.core.effects import Close, Effect, ReportToolResult, Save, Send, TakeMessage
from voice_gateway.session.core.lifecycle.agreement import Agreement
from voice_gateway.session.core.session import Session
from voice_gateway.session.core.session_limits import Identity
from voicelink.wire import (
    App,
    Bye,
    CloseCode,
    Codec,
    Ready,
    Received,
    Resume,
    Text,
    ToolCall,
    ToolResult,
    Transfer,
)

HELLO = Text(number=0, text="hello")


def begun(next_message: int | None = 0) -> Session:
    session = Session(Identity("s-1", "worker-1", "order", AUDIO), LIMITS, 0.0, token="t")
    effects = session.start(Agreement(Codec.OPUS, next_message=next_message), 0.0)
    session.saved(save(effects).record.revision, 0.0)
    return session


def sent(effects: Sequence[Effect], *kinds: type[Any]) -> list[Any]:
    return [each.message for each in effects if isinstance(each, Send) and isinstance(each.message, kinds)]


def emitted(session: Session, event: AgentEvent) -> list[Any]:
    """Let the agent emit an event, carry out the save, and return what was sent after it."""
    effects = session.agent_emitted(event, 1.0)
    assert not sent(effects, App, ToolCall, Transfer), "nothing is sent before it is saved"
    return sent(session.saved(save(effects).record.revision, 1.1), App, ToolCall, Transfer, Received)


def resumed(session: Session, next_message: int | None, now: float = 5.0) -> Sequence[Effect]:
    agreement = Agreement(Codec.OPUS, next_message=next_message)
    return session.resume(agreement, Resume(session="s-1", token="t", next_message=next_message), "u", now)


def taken_over(session: Session, next_message: int | None) -> tuple[Session, Sequence[Effect]]:
    """Go on at another worker with what was saved last."""
    record = session.tracker.record()
    other = Session(Identity("s-1", "worker-2", "order", AUDIO), LIMITS, 5.0, token="u", record=record)
    return other, resumed(other, next_message)


def test_ready_says_which_message_is_next_only_to_a_client_that_asks() -> None:
    for next_message in (0, None):
        session = Session(Identity("s-1", "worker-1", "order", AUDIO), LIMITS, 0.0)
        (ready,) = sent(session.start(Agreement(Codec.OPUS, next_message=next_message), 0.0), Ready)
        assert ready.next_message == next_message


@pytest.mark.parametrize("event", [FinalTranscript("hello", -1, through_message=0), StateChanged(through_message=0)])
def test_a_message_is_acknowledged_once_its_effect_is_saved(event: AgentEvent) -> None:
    session = begun()
    assert session.message_received(HELLO, 0.5) == (TakeMessage(HELLO),)
    assert session.message_received(HELLO, 0.5) == ()
    assert emitted(session, event) == [Received(number=0)]
    _, effects = taken_over(session, 0)
    assert sent(effects, Ready)[0].next_message == 1


def test_a_message_without_an_effect_comes_again_at_another_worker_and_not_at_the_same() -> None:
    session = begun()
    session.message_received(HELLO, 0.5)
    session.lost("cable", 1.0)
    assert sent(resumed(session, 0), Ready)[0].next_message == 1
    other, effects = taken_over(session, 0)
    assert sent(effects, Ready)[0].next_message == 0
    assert TakeMessage(HELLO) in other.message_received(HELLO, 6.0)


def test_what_the_client_has_not_got_is_sent_again_after_ready() -> None:
    session = begun()
    assert emitted(session, SendAppMessage({"n": 1})) == [App(number=0, data={"n": 1})]
    assert emitted(session, CallClientTool("c", "where", {}, 5.0)) == [
        ToolCall(number=1, call_id="c", name="where", arguments={}, timeout_s=5.0)
    ]
    session.lost("cable", 2.0)
    assert [each.number for each in sent(resumed(session, 1), App, ToolCall)] == [1]
    session.message_received(Received(number=1), 6.0)
    _, effects = taken_over(session, 1)
    assert sent(effects, App, ToolCall) == []


def test_what_is_emitted_while_the_client_is_away_is_sent_when_it_is_back() -> None:
    session = begun()
    session.lost("cable", 1.0)
    assert emitted(session, SendAppMessage({"n": 1})) == []
    effects = resumed(session, 0)
    kinds = [type(each.message) for each in effects if isinstance(each, Send)]
    assert kinds.index(Ready) < kinds.index(App)


def test_a_message_and_the_private_state_are_saved_together() -> None:
    record = save(begun().agent_emitted(SendAppMessage({"n": 1}, {"sent": 1}), 1.0)).record
    assert record.private_state == {"sent": 1}
    assert record.messages is not None
    assert len(record.messages.kept) == 1


def test_a_client_without_messages_is_sent_none_and_its_tools_fail_at_once() -> None:
    session = begun(None)
    effects = session.agent_emitted(CallClientTool("c", "where", {}, 5.0, {"n": 1}), 1.0)
    (report,) = (each for each in effects if isinstance(each, ReportToolResult))
    assert (report.result.call_id, report.result.number) == ("c", None)
    assert report.result.error == "the client takes no messages, and has no tools"
    assert save(effects).record.private_state == {"n": 1}
    for event in (SendAppMessage({"n": 1}), CancelClientTool("c")):
        assert sent(session.agent_emitted(event, 1.0), App) == []
    assert session.tracker.record().messages is None


@pytest.mark.parametrize(
    ("next_message", "message", "code"),
    [
        (None, HELLO, CloseCode.WRONG_ORDER),
        (None, Received(number=0), CloseCode.WRONG_ORDER),
        (0, Received(number=0), CloseCode.WRONG_ORDER),
    ],
)
def test_messages_that_were_not_agreed_upon_end_the_session(
    next_message: int | None, message: Any, code: CloseCode
) -> None:
    assert closing(begun(next_message).message_received(message, 1.0)) is code


def test_a_client_that_sends_more_than_the_agent_takes_is_ended() -> None:
    session = begun()
    for number in range(256):
        session.message_received(ToolResult(number=number, call_id="x"), 1.0)
    assert closing(session.message_received(ToolResult(number=256, call_id="x"), 1.0)) is CloseCode.OVERLOADED


def test_an_agent_whose_message_cannot_be_sent_fails() -> None:
    assert closing(begun().agent_emitted(SendAppMessage({"blob": b"1"}), 1.0)) is CloseCode.AGENT_FAILED


def test_what_was_not_sent_goes_before_the_bye_of_an_agent_that_hangs_up() -> None:
    session = begun()
    session.agent_emitted(SendAppMessage({"n": 1}), 1.0)
    effects = session.agent_emitted(HangUp("done"), 1.0)
    assert [type(each) for each in sent(effects, App, Bye)] == [App, Bye]


def test_a_transfer_ends_the_session_once_it_is_acknowledged() -> None:
    session = begun()
    assert emitted(session, TransferCall("desk")) == [Transfer(number=0, target="desk")]
    effects = session.message_received(Received(number=0), 2.0)
    assert sent(effects, Bye)[0].reason == "the call was transferred"
    assert isinstance(effects[-1], Close)


def test_a_transfer_that_is_not_acknowledged_ends_the_session_after_10_s() -> None:
    session = begun()
    emitted(session, TransferCall("desk"))
    assert session.deadline == pytest.approx(11.0)
    assert session.tick(10.9) == ()
    assert sent(session.tick(11.0), Bye)


def test_a_transfer_that_the_client_has_ends_the_session_when_it_is_back() -> None:
    session = begun()
    emitted(session, TransferCall("desk"))
    _, effects = taken_over(session, 1)
    assert sent(effects, Transfer, Bye)[-1].reason == "the call was transferred"
    _, effects = taken_over(session, 0)
    assert [type(each) for each in sent(effects, Transfer, Bye)] == [Transfer]


def test_a_transfer_of_a_client_without_messages_is_told_and_ends_at_once() -> None:
    effects = begun(None).agent_emitted(TransferCall("desk"), 1.0)
    assert [type(each) for each in sent(effects, Transfer, Bye)] == [Transfer, Bye]
    assert not any(isinstance(each, Save) for each in effects)


def test_a_session_without_messages_keeps_none() -> None:
    assert new_session().tracker.record().messages is None
