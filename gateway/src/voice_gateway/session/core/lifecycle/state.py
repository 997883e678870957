"""The states of a session: a table, one function, and the one place that keeps and moves a session's state."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

import structlog

_log = structlog.get_logger("voice_gateway.session")


class SessionState(Enum):
    """Where a session stands."""

    NEW = "new"
    """Made for a caller's `start`, which it has not taken yet."""
    ACTIVE = "active"
    """The caller speaks, the agent answers."""
    DRAINING = "draining"
    """As active, and the caller knows that this worker is going away."""
    FINISHING = "finishing"
    """The caller said `bye`; what it said is still being answered and saved."""
    DETACHED = "detached"
    """The connection is gone; the caller may take the session up over another one."""
    CLOSED = "closed"
    """Over: no input has an effect any more."""


class SessionInput(Enum):
    """What moves a session from one state to another."""

    START = "start"
    """The caller's `start` was accepted."""
    DRAIN = "drain"
    """The worker is going away."""
    BYE = "bye"
    """The caller's `bye`."""
    DONE = "done"
    """Everything the caller said is answered, played and saved."""
    HANG_UP = "hang_up"
    """The agent ends the call."""
    FAULT = "fault"
    """The caller, the agent or a deadline broke the session."""
    LOST = "lost"
    """The connection is gone, and the caller may come back."""
    LEFT = "left"
    """The caller is gone for good."""
    RESUME = "resume"
    """The caller came back, over another connection."""


TRANSITIONS: Final[Mapping[tuple[SessionState, SessionInput], SessionState]] = MappingProxyType(
    {
        (SessionState.NEW, SessionInput.START): SessionState.ACTIVE,
        (SessionState.NEW, SessionInput.FAULT): SessionState.CLOSED,
        (SessionState.ACTIVE, SessionInput.DRAIN): SessionState.DRAINING,
        (SessionState.ACTIVE, SessionInput.BYE): SessionState.FINISHING,
        (SessionState.ACTIVE, SessionInput.HANG_UP): SessionState.CLOSED,
        (SessionState.ACTIVE, SessionInput.FAULT): SessionState.CLOSED,
        (SessionState.ACTIVE, SessionInput.LOST): SessionState.DETACHED,
        (SessionState.ACTIVE, SessionInput.LEFT): SessionState.CLOSED,
        (SessionState.DRAINING, SessionInput.DRAIN): SessionState.DRAINING,
        (SessionState.DRAINING, SessionInput.BYE): SessionState.FINISHING,
        (SessionState.DRAINING, SessionInput.HANG_UP): SessionState.CLOSED,
        (SessionState.DRAINING, SessionInput.FAULT): SessionState.CLOSED,
        (SessionState.DRAINING, SessionInput.LOST): SessionState.DETACHED,
        (SessionState.DRAINING, SessionInput.LEFT): SessionState.CLOSED,
        (SessionState.FINISHING, SessionInput.DRAIN): SessionState.FINISHING,
        (SessionState.FINISHING, SessionInput.DONE): SessionState.CLOSED,
        (SessionState.FINISHING, SessionInput.HANG_UP): SessionState.CLOSED,
        (SessionState.FINISHING, SessionInput.FAULT): SessionState.CLOSED,
        (SessionState.FINISHING, SessionInput.LOST): SessionState.DETACHED,
        (SessionState.FINISHING, SessionInput.LEFT): SessionState.CLOSED,
        (SessionState.DETACHED, SessionInput.RESUME): SessionState.ACTIVE,
        (SessionState.DETACHED, SessionInput.DRAIN): SessionState.DETACHED,
        (SessionState.DETACHED, SessionInput.HANG_UP): SessionState.CLOSED,
        (SessionState.DETACHED, SessionInput.FAULT): SessionState.CLOSED,
    }
)
"""Every move there is. A pair that is missing is out of order: the caller's mistake, or after the end."""


def next_state(state: SessionState, given: SessionInput) -> SessionState | None:
    """Return the state that follows, or `None` where `given` is out of order in `state`."""
    return TRANSITIONS.get((state, given))


class StateMachine:
    """Keeps the state of one session; only `advance` moves it, and logs each move."""

    __slots__ = ("_session_id", "current")

    def __init__(self, session_id: str, state: SessionState) -> None:
        self.current = state
        self._session_id = session_id

    def advance(self, given: SessionInput) -> bool:
        """Move to the state that follows; `False`, and no move, where `given` is out of order."""
        following = next_state(self.current, given)
        if following is None:
            return False
        if following is not self.current:
            _log.debug(
                "session_state_changed",
                session=self._session_id,
                was=self.current.value,
                state=following.value,
                input=given.value,
            )
            self.current = following
        return True
