"""Where a call stands: its state, the turn being answered, and the journal; saved at each turn's end."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from voice_gateway.agent.base import Emit, FinalTranscript, SessionView, StateChanged
from voice_gateway.agent.call.progress.journal import Generated, Journal, Turn
from voice_gateway.agent.call.progress.tools import plain, returned, run_tool, tool_key
from voice_gateway.agent.call.waiting import Changes


class Progress:
    """Hands out the turns in order, and numbers the steps of each, so that a repeated turn meets its own steps again.

    `state` is what the agent changes as it likes. It is saved when the turn is over, together with the end of the
    turn's journal: a turn has changed the state wholly or not at all.
    """

    def __init__(self, emit: Emit, changes: Changes, state: Mapping[str, Any] | None) -> None:
        self.state: dict[str, Any] = plain(state or {})
        self._saved_state = plain(self.state)
        self._emit = emit
        self._changes = changes
        self.session: SessionView | None = None
        self._journal = Journal()
        self._saved_journal: dict[str, Any] = {}
        self._newest = 0
        self._answering = 0
        self._is_committed = False
        self._queue: deque[Turn] = deque()
        self._waiting = 0
        self._said_before = ""
        self._is_prelude_over = False
        self._tools = itertools.count()
        self._says = itertools.count()
        self._checkpoints = itertools.count(1)
        self._saved_checkpoint = 0

    def restore(self, session: SessionView) -> None:
        """Go on with what another worker, or an earlier conversation, had saved of this session."""
        self.session = session
        self._journal = Journal(session.private_state)
        self._saved_journal = self._journal.to_state()
        self._newest = session.turn
        self._queue.extend(self._journal.pending)
        self._is_prelude_over = session.turn > 0
        first = self._queue[0].number if self._queue else session.turn + 1 if session.turn else 0
        lines = (line for line in session.transcript() if line.role == "agent" and line.turn >= first)
        self._said_before = " ".join(line.text for line in lines)

    @property
    def has_pending(self) -> bool:
        """Whether a turn waits to be answered."""
        return bool(self._queue)

    @property
    def is_idle(self) -> bool:
        """Whether the agent waits for the caller, and nothing is left to answer."""
        return self._waiting > 0 and not self._queue

    @property
    def is_repeating_prelude(self) -> bool:
        """Whether the agent is before its first turn, in a call that had turns at another worker."""
        return self._is_prelude_over and self._answering == 0

    def understood(
        self, text: str, through_sequence: int, timing_ms: tuple[int, int] = (0, 0), *, is_digit: bool = False
    ) -> None:
        """A turn of the caller is complete: save its words with the turn as pending, and hand it out."""
        self._newest += 1
        turn = Turn(self._newest, text, through_sequence, *timing_ms, is_digit=is_digit)
        self._journal.understood(turn)
        self._queue.append(turn)
        self._emit(FinalTranscript(text, through_sequence, private_state=self._remember()))
        self._changes.notify()

    async def next_turn(self) -> Turn:
        """End the turn being answered, and wait for the next one."""
        self.commit()
        await self.idle(lambda: bool(self._queue))
        turn = self._queue.popleft()
        self._answering, self._is_committed = turn.number, False
        self._tools, self._says = itertools.count(), itertools.count()
        return turn

    async def idle(self, is_so: Callable[[], bool]) -> None:
        """Wait for the caller; all that was asked of the agent is done meanwhile."""
        self._waiting += 1
        self._changes.notify()
        try:
            await self._changes.until(is_so)
        finally:
            self._waiting -= 1

    def commit(self) -> None:
        """Save the state, and the turn as answered, together; raises `TypeError` for a state that is not plain."""
        if self._answering and not self._is_committed:
            self._journal.answered(self._answering)
            self._is_committed = True
        state = plain(self.state)
        is_changed = state != self._saved_state
        if is_changed or self._journal.to_state() != self._saved_journal:
            self._saved_state = state
            self._emit(StateChanged(plain(state) if is_changed else None, self._remember()))

    async def checkpoint(self) -> None:
        """Save the journal, and return once that cannot be lost."""
        checkpoint = next(self._checkpoints)
        self._emit(StateChanged(private_state=self._remember(), checkpoint=checkpoint))
        await self._changes.until(lambda: self._saved_checkpoint >= checkpoint)

    def saved(self, checkpoint: int) -> None:
        """The session has saved all up to here."""
        self._saved_checkpoint = max(self._saved_checkpoint, checkpoint)
        self._changes.notify()

    async def tool(self, function: Callable[..., object], arguments: Mapping[str, object]) -> Any:
        """Call a tool, or return what it returned at an earlier worker."""
        name = getattr(function, "__name__", type(function).__name__)
        session_id = "" if self.session is None else self.session.session_id
        key = tool_key(session_id, self._answering, next(self._tools), name, arguments)
        begun = self._journal.tool(key)
        if begun is None:
            self._journal.tool_begins(key, self._answering, name)
            await self.checkpoint()
        if begun is None or not begun.is_done:
            self._journal.tool_ended(key, plain(await run_tool(function, arguments, key)))
            await self.checkpoint()
        ended = self._journal.tool(key)
        return returned(function, None if ended is None else plain(ended.result))

    def next_say(self) -> int:
        """Number the next thing that is said in this turn."""
        return next(self._says)

    def generated_before(self, ordinal: int) -> Generated | None:
        """Return what was said under this number at an earlier worker, where its whole text is known."""
        return self._journal.said(self._answering, ordinal)

    def generated(self, ordinal: int, text: str, *, is_cut: bool = False, played_ms: int = 0) -> None:
        """Keep what a stream gave, or what of an interrupted text was played, until the turn is over."""
        self._journal.generated(ordinal, Generated(self._answering, text, is_cut, played_ms))
        self._emit(StateChanged(private_state=self._remember()))

    def was_said(self, text: str) -> bool:
        """Whether the next thing that an earlier worker said in these turns was this text; asked in order."""
        before = self._said_before
        if not before or not (before == text or before.startswith(f"{text} ")):
            self._said_before = ""
            return False
        self._said_before = before[len(text) :].lstrip()
        return True

    def _remember(self) -> dict[str, Any]:
        self._saved_journal = self._journal.to_state()
        return plain(self._saved_journal)  # type: ignore[no-any-return]  # a copy of a map is a map
