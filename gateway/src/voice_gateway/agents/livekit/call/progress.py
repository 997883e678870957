"""What of a call is saved with its session: LiveKit's chat context, the pending turn, the state, and tools' steps."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from livekit.agents import AgentSession

from voice_gateway.agent.base import Emit, SessionView, StateChanged
from voice_gateway.agent.call.progress.journal import Journal, Turn
from voice_gateway.agent.call.progress.steps import Steps
from voice_gateway.agent.call.progress.tools import plain
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.livekit.call.history import to_saved


class LiveKitProgress:
    """A turn is pending from its transcript on until nothing is said or prepared any more; both are saved."""

    def __init__(self, emit: Emit, changes: Changes, state: Mapping[str, Any] | None) -> None:
        self.turn = 0
        self.answer = SavedAnswer()
        self._emit = emit
        self._changes = changes
        self._saved_state: dict[str, Any] = plain(state or {})
        self._journal = Journal()
        self._steps = Steps(self._journal, self.save, self._checkpoint, emit=emit)
        self._checkpoints = itertools.count(1)
        self._saved_checkpoint = 0
        self._session: AgentSession[Any] | None = None
        self._is_started = False

    @property
    def steps(self) -> Steps:
        """The tools' calls of the turn."""
        return self._steps

    @property
    def is_pending(self) -> bool:
        """Whether a turn was not answered yet."""
        return bool(self._journal.pending)

    def restore(self, session: SessionView) -> None:
        """Take the history and the pending turn of an earlier worker."""
        saved = session.private_state
        self.turn = session.turn
        self.answer = SavedAnswer.restored(saved)
        self._journal = Journal(saved)
        self._steps = Steps(self._journal, self.save, self._checkpoint, session, emit=self._emit)
        self._steps.begin(self.turn, self.answer.tools)

    def session_made(self, session: AgentSession[Any]) -> None:
        """Give the session's `userdata`, where it is a dict, the state that was saved; it is the state from now on."""
        self._session = session
        state = _state_of(session)
        if state is not None:
            state.update(plain(self._saved_state))

    def session_started(self) -> None:
        """The session has its agent, whose chat context is saved from now on."""
        self._is_started = True

    def begin_turn(self, text: str, through_sequence: int) -> dict[str, Any]:
        """The user's turn is complete; return what to save with it."""
        self.turn += 1
        self._journal.understood(Turn(self.turn, text, through_sequence))
        self._steps.begin(self.turn)
        self.answer.begin()
        return self._remember()

    def answer_made(self, turn: int, text: str) -> None:
        """The model gave `text` for that turn, without a tool's call since."""
        if turn == self.turn and not self.answer.has_tools and self.is_pending:
            self.answer.text = f"{self.answer.text or ''} {text}".strip()
            self.save()

    def tool_started(self) -> None:
        """What the model said before is no whole answer."""
        self.answer.has_tools = True
        self.answer.text = None

    def tools_returned(self) -> None:
        """The results are in the chat context."""
        self.answer.has_tools = False
        self.answer.text = None
        self.answer.tools = self._steps.tools_called
        self.save()

    def answered(self) -> None:
        """What is pending was answered."""
        for turn in self._journal.pending:
            self._journal.answered(turn.number)
        self.answer.begin()
        self.save()

    def save(self) -> None:
        """Let the session save all of it."""
        self._emit_state(None)

    def saved(self, checkpoint: int) -> None:
        """The state of this checkpoint cannot be lost any more."""
        self._saved_checkpoint = max(self._saved_checkpoint, checkpoint)
        self._changes.notify()

    async def _checkpoint(self) -> None:
        checkpoint = next(self._checkpoints)
        self._emit_state(checkpoint)
        await self._changes.until(lambda: self._saved_checkpoint >= checkpoint)

    def _emit_state(self, checkpoint: int | None) -> None:
        state = plain(None if self._session is None else _state_of(self._session))
        is_changed = state is not None and state != self._saved_state
        if is_changed:
            self._saved_state = state
        self._emit(StateChanged(plain(state) if is_changed else None, self._remember(), checkpoint))

    def _remember(self) -> dict[str, Any]:
        if self._session is not None and self._is_started:
            self.answer.chat = to_saved(self._session.current_agent.chat_ctx)
        saved: dict[str, Any] = plain({**self._journal.to_state(), "livekit": self.answer.to_state()})
        return saved


@dataclass(slots=True)
class SavedAnswer:
    """LiveKit's chat context as it was last, and how far the pending turn is answered.

    `text` is the whole answer, where the model gave all of it. `tools` counts the journalled calls whose results are in
    the context. `has_tools` while tools run.
    """

    chat: dict[str, Any] | None = None
    text: str | None = None
    tools: int = 0
    has_tools: bool = False

    @classmethod
    def restored(cls, saved: Mapping[str, Any]) -> SavedAnswer:
        """Return what `to_state` gave to a private state."""
        given = saved.get("livekit") or {}
        return cls(given.get("chat"), given.get("answer"), given.get("tools", 0))

    def begin(self) -> None:
        """A turn begins, or is over."""
        self.text, self.tools, self.has_tools = None, 0, False

    def to_state(self) -> dict[str, Any]:
        """Return plain values."""
        state = {"chat": self.chat, "answer": self.text, "tools": self.tools}
        return {key: value for key, value in state.items() if value}


def _state_of(session: AgentSession[Any]) -> dict[str, Any] | None:
    """Return the session's `userdata` where it is a dict, which is the state."""
    try:
        data: object = session.userdata
    except ValueError:
        return None
    return data if isinstance(data, dict) else None
