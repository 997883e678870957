"""Text, application messages, client tools and transfer between the caller's client and the agent. Sans-IO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from voice_gateway.agent.base import (
    CallClientTool,
    CancelClientTool,
    ClientToolResult,
    SendAppMessage,
    TransferCall,
)
from voice_gateway.session.core.effects import Effect, ReportToolResult, Send, TakeMessage
from voice_gateway.session.core.record.record_tracker import RecordTracker
from voicelink.wire import (
    App,
    CloseCode,
    Malformed,
    NumberedClientMessage,
    NumberedServerMessage,
    Received,
    ToolCall,
    ToolCancel,
    Transfer,
)

MessageEvent = SendAppMessage | CallClientTool | CancelClientTool | TransferCall
_NOTHING: Final[tuple[Effect, ...]] = ()
_LAST_NUMBER: Final = (1 << 62) - 1
_NO_MESSAGES: Final = "the client takes no messages, and has no tools"


class ClientMessages:
    """Takes what the client sends once, and sends what the agent says to it once it is saved; returns effects."""

    def __init__(self, tracker: RecordTracker) -> None:
        self._tracker = tracker
        self._messages = tracker.messages

    def received(self, message: NumberedClientMessage) -> Sequence[Effect] | Malformed:
        """Take a message of the client; one that has come before is dropped."""
        if not self._messages.is_spoken:
            return Malformed("numbered messages need next_message in start or resume", CloseCode.WRONG_ORDER)
        if message.number >= _LAST_NUMBER:
            return Malformed(f"number {message.number} has none after it", CloseCode.WRONG_ORDER)
        if not self._messages.received(message):
            return _NOTHING
        if self._messages.is_overloaded:
            unacked = self._messages.unacked
            return Malformed(f"the agent is {unacked} messages behind", CloseCode.OVERLOADED)
        return (TakeMessage(message),)

    def acknowledged(self, received: Received) -> Malformed | None:
        """The client has the messages up to this one."""
        if self._messages.is_spoken and self._messages.acknowledged(received.number):
            return None
        return Malformed(f"received {received.number}, which was not sent", CloseCode.WRONG_ORDER)

    def follow(self, event: MessageEvent) -> Sequence[Effect] | Malformed:
        """Keep what the agent says to the client, to be sent when it is saved."""
        private_state = None if isinstance(event, TransferCall) else event.private_state
        if not self._messages.is_spoken:
            self._tracker.state_changed(None, private_state)
            if isinstance(event, CallClientTool):
                return (ReportToolResult(ClientToolResult(event.call_id, error=_NO_MESSAGES)),)
            return _NOTHING
        # the message must be in the record before the revision that announces it
        fault = self._messages.add(_message(event), self._tracker.revision + 1)
        if fault is not None:
            return Malformed(f"the agent's message cannot be sent: {fault.reason}", CloseCode.AGENT_FAILED)
        self._tracker.state_changed(None, private_state)
        return _NOTHING

    def due(self, *, is_last: bool = False) -> Sequence[Effect]:
        """Return what may be sent now; where it `is_last`, all: no other worker will number messages."""
        revision = self._tracker.revision if is_last else self._tracker.saves.revision
        return tuple(Send(message) for message in self._messages.due(revision))


def _message(event: MessageEvent) -> NumberedServerMessage:
    match event:
        case SendAppMessage(data):
            return App(number=0, data=dict(data))
        case CallClientTool(call_id, name, arguments, timeout_s):
            return ToolCall(number=0, call_id=call_id, name=name, arguments=dict(arguments), timeout_s=timeout_s)
        case CancelClientTool(call_id):
            return ToolCancel(number=0, call_id=call_id)
        case TransferCall(target):
            return Transfer(number=0, target=target)
