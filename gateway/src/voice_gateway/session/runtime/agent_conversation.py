"""A session's conversation with its agent: opened anew or from saved state, informed by effects, closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from voice_gateway.agent.base import (
    Agent,
    AppMessage,
    ClientToolResult,
    Conversation,
    Emit,
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
from voice_gateway.session.core.lifecycle.state import SessionState
from voice_gateway.session.core.session import Session
from voicelink.wire import App, NumberedClientMessage, Text, ToolResult

AgentEffect = (
    Finish
    | Greet
    | InjectText
    | PressKey
    | ReportPlayback
    | ReportPlayed
    | ReportSaved
    | ReportToolResult
    | SayAgain
    | TakeMessage
)
"""Effects that call the agent, and do nothing else. Audio, of which there is more, goes to `current.hear` at once."""
AGENT_EFFECTS = get_args(AgentEffect)


class AgentConversation:
    """`current` is the conversation of `session` while one is open."""

    def __init__(self, agent: Agent, session: Session) -> None:
        self._agent = agent
        self._session = session
        self.current: Conversation | None = None

    @property
    def required(self) -> Conversation:
        """The conversation; raises `RuntimeError` where none is open."""
        if self.current is None:
            raise RuntimeError(f"no conversation in state {self._session.state}")
        return self.current

    def open(self, emit: Emit, state: Mapping[str, Any] | None) -> None:
        """Open one whose events go to `emit`: a new one, or from the agent's saved `state`."""
        session, tracker = self._session, self._session.tracker
        view = SessionView(
            tracker.session_id,
            tracker.turn,
            tracker.private_state,
            lambda: tracker.transcript.since(0),
            lambda: session.state is not SessionState.DETACHED,
            tracker.ownership.epoch,
        )
        self.current = self._agent.converse(emit, state)
        self.current.opened(view)

    def carry_out(self, effect: AgentEffect) -> None:
        """Inform the agent. What was played or saved after its conversation is of no interest any more."""
        match effect:
            case ReportPlayed(played_ms):
                if self.current is not None:
                    self.current.played(played_ms)
            case ReportSaved(checkpoint):
                if self.current is not None:
                    self.current.saved(checkpoint)
            case ReportPlayback(playback):
                self.required.playback_finished(playback)
            case TakeMessage(message):
                self._take_message(message)
            case PressKey(digit):
                self.required.pressed(digit)
            case Greet(is_after_gap):
                if is_after_gap:
                    self.required.greet_again()
                else:
                    self.required.greet()
            case SayAgain(text):
                self.required.say_again(text)
            case InjectText(text):
                self.required.text_received(UserText(None, text))
            case ReportToolResult(result):
                self.required.client_tool_returned(result)
            case Finish():
                self.required.finish()

    def _take_message(self, message: NumberedClientMessage) -> None:
        match message:
            case Text(number=number, text=text):
                self.required.text_received(UserText(number, text))
            case App(number=number, data=data):
                self.required.app_message_received(AppMessage(number, data))
            case ToolResult(number=number, call_id=call_id, result=result, error=error):
                self.required.client_tool_returned(ClientToolResult(call_id, result, error, number))

    def close(self) -> None:
        """Close it, if one is open."""
        conversation, self.current = self.current, None
        if conversation is not None:
            conversation.close()
