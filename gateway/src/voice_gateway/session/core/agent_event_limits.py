"""What an agent may emit: no more than a session record holds, and a client takes. Sans-IO."""

from __future__ import annotations

from typing import Final

import msgspec

from voice_gateway.agent.base import (
    MAX_PRIVATE_STATE_BYTES,
    AgentEvent,
    CallClientTool,
    CancelClientTool,
    FinalTranscript,
    PartialTranscript,
    Reply,
    ReplyText,
    SendAppMessage,
    StateChanged,
)
from voicelink.wire import MAX_CONTROL_BYTES, State, encode_message

LONGEST_TEXT: Final = 16_000
"""Characters, of four bytes at most, that fit into a control message."""
_HIGHEST_REVISION: Final = (1 << 62) - 1
_SAVES_PRIVATE_STATE: Final = (FinalTranscript, StateChanged, SendAppMessage, CallClientTool, CancelClientTool)


def unsavable(event: AgentEvent) -> str | None:
    """Return why what the event has saved does not fit into a session record."""
    private_state = event.private_state if isinstance(event, _SAVES_PRIVATE_STATE) else None
    try:
        size = 0 if private_state is None else len(msgspec.msgpack.encode(private_state))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return "the agent's private state is not plain maps, lists, strings and numbers"
    if size > MAX_PRIVATE_STATE_BYTES:
        return f"the agent's private state has {size} bytes, a session record takes {MAX_PRIVATE_STATE_BYTES}"
    return None


def unsendable(event: AgentEvent) -> str | None:
    """Return why no client could take the control message that follows from the event."""
    if isinstance(event, PartialTranscript | FinalTranscript | Reply | ReplyText) and len(event.text) > LONGEST_TEXT:
        return f"the agent's text has {len(event.text)} characters, a client takes {LONGEST_TEXT} at once"
    if isinstance(event, FinalTranscript | StateChanged) and event.state is not None:
        try:
            size = len(encode_message(State(revision=_HIGHEST_REVISION, state=dict(event.state))))
        except (TypeError, ValueError, OverflowError, RecursionError):
            return "the agent's state is not plain maps, lists, strings and numbers"
        if size > MAX_CONTROL_BYTES:
            return f"the agent's state has {size} bytes as a message, a client takes {MAX_CONTROL_BYTES}"
    return None
