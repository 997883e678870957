"""Which call of the agent each effect is, and what is asked of an agent that has no conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.voice_gateway.session.sessions import new_session, start
from voice_gateway.agent.base import (
    Agent,
    AppMessage,
    ClientToolResult,
    Conversation,
    Emit,
    PlaybackFinished,
    SessionView,
    UserText,
)
from voice_gateway.session.core.effects import (
    Finish,
    Greet,
    InjectText,
    PressKey,
    ReportPlayback,
    ReportPlayed,
    ReportSaved,
    ReportToolResult,
    SayAgain,
    TakeMessage,
)
from voice_gateway.session.runtime.agent_conversation import AGENT_EFFECTS, AgentConversation, AgentEffect
from voicelink.wire import App, Text, ToolResult

PLAYBACK = PlaybackFinished("so far", 120)
RETURNED = ClientToolResult("c-1", {"ok": 1}, None)
CALLS: list[tuple[AgentEffect, tuple[str, tuple[object, ...]]]] = [
    (Greet(), ("greet", ())),
    (Greet(is_after_gap=True), ("greet_again", ())),
    (SayAgain("once more"), ("say_again", ("once more",))),
    (InjectText("typed"), ("text_received", (UserText(None, "typed"),))),
    (PressKey("5"), ("pressed", ("5",))),
    (ReportPlayed(40), ("played", (40,))),
    (ReportPlayback(PLAYBACK), ("playback_finished", (PLAYBACK,))),
    (ReportSaved(3), ("saved", (3,))),
    (ReportToolResult(RETURNED), ("client_tool_returned", (RETURNED,))),
    (Finish(), ("finish", ())),
    (TakeMessage(Text(number=1, text="hi")), ("text_received", (UserText(1, "hi"),))),
    (TakeMessage(App(number=2, data={"a": 1})), ("app_message_received", (AppMessage(2, {"a": 1}),))),
    (
        TakeMessage(ToolResult(number=3, call_id="c-1", result=None, error="no")),
        ("client_tool_returned", (ClientToolResult("c-1", None, "no", 3),)),
    ),
]
IS_OPTIONAL = (ReportPlayed, ReportSaved)


class Noted(Conversation):
    """Notes each call, by name and arguments."""

    def __init__(self, emit: Emit) -> None:
        super().__init__(emit)
        self.calls: list[tuple[str, tuple[object, ...]]] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") or name in ("calls", "emit"):
            return super().__getattribute__(name)
        return lambda *arguments: self.calls.append((name, arguments))


class NotingAgent(Agent):
    name = "noting"

    def __init__(self) -> None:
        self.states: list[Mapping[str, Any] | None] = []

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Noted:
        self.states.append(state)
        return Noted(emit)


def new_conversation(agent: Agent) -> AgentConversation:
    session = new_session()
    start(session, 0.0)
    return AgentConversation(agent, session)


def opened(agent: Agent) -> tuple[AgentConversation, Noted]:
    conversation = new_conversation(agent)
    conversation.open(lambda event: None, {"a": 1})
    assert isinstance(conversation.current, Noted)
    return conversation, conversation.current


def test_a_conversation_is_opened_from_the_saved_state_with_a_view_of_its_session() -> None:
    agent = NotingAgent()
    _, noted = opened(agent)
    [(name, (view,))] = noted.calls
    assert (name, agent.states) == ("opened", [{"a": 1}])
    assert isinstance(view, SessionView)
    assert view.session_id == "s-1"


@pytest.mark.parametrize(("effect", "call"), CALLS)
def test_each_effect_is_one_call(effect: AgentEffect, call: tuple[str, tuple[object, ...]]) -> None:
    conversation, noted = opened(NotingAgent())
    noted.calls.clear()
    conversation.carry_out(effect)
    assert noted.calls == [call]


def test_every_effect_for_the_agent_is_among_these() -> None:
    assert {type(effect) for effect, _ in CALLS} == set(AGENT_EFFECTS)


@pytest.mark.parametrize("effect", [effect for effect, _ in CALLS])
def test_without_a_conversation_what_was_played_and_saved_is_ignored_and_all_else_is_an_error(
    effect: AgentEffect,
) -> None:
    conversation = new_conversation(NotingAgent())
    if isinstance(effect, IS_OPTIONAL):
        conversation.carry_out(effect)
        return
    with pytest.raises(RuntimeError, match="no conversation in state"):
        conversation.carry_out(effect)


def test_a_conversation_is_closed_once() -> None:
    conversation, noted = opened(NotingAgent())
    noted.calls.clear()
    conversation.close()
    conversation.close()
    assert noted.calls == [("close", ())]
    assert conversation.current is None
