"""Where a call stands: its state, the turn being answered, and the journal; saved at each turn's end."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from voice_gateway.agent.base import MAX_PRIVATE_STATE_BYTES, Emit, FinalTranscript, SessionView, StateChanged
from voice_gateway.agent.call.progress.journal import Committed, Journal, Turn
from voice_gateway.agent.call.progress.steps import Said, Steps
from voice_gateway.agent.call.progress.tools import plain
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.errors import StateTooLarge
from voicelink.wire import MAX_CONTROL_BYTES, State, encode_message

_HIGHEST_REVISION: Final = (1 << 62) - 1


class Progress:
    """Hands out the turns in order.

    `state` is what the agent changes as it likes. It is saved when the turn is over, together with the end of the
    turn's journal: a turn has changed the state wholly or not at all.
    """

    def __init__(self, emit: Emit, changes: Changes, state: Mapping[str, Any] | None, filler: str = "") -> None:
        self.state: dict[str, Any] = plain(state or {})
        self._saved_state = plain(self.state)
        self._state_before = self._saved_state
        self._filler = filler
        self._emit = emit
        self._changes = changes
        self.session: SessionView | None = None
        self._journal = Journal()
        self._saved_journal: dict[str, Any] = {}
        self._newest = 0
        self._is_committed = True
        self._queue: deque[Turn] = deque()
        self._waiting = 0
        self.steps = Steps(self._journal, self._save, self._checkpoint, emit=emit)
        self._checkpoints = itertools.count(1)
        self._saved_checkpoint = 0

    @property
    def journal(self) -> Journal:
        """The journal of this call."""
        return self._journal

    def restore(self, session: SessionView) -> None:
        """Go on with what another worker, or an earlier conversation, had saved of this session."""
        self.session = session
        self._journal = Journal(session.private_state)
        self._saved_journal = self._journal.to_state()
        self._newest = session.turn
        if self._journal.committed is not None:  # the turn is repeated from its beginning, up to what it has committed
            self._set_state(self._journal.committed.before)
        self._queue.extend(self._journal.pending)
        first = self._queue[0].number if self._queue else session.turn + 1 if session.turn else 0
        said = self._said_since(first)[self._journal.said_before :].lstrip()
        self.steps = Steps(
            self._journal, self._save, self._checkpoint, session, Said(said, self._filler), emit=self._emit
        )

    @property
    def has_pending(self) -> bool:
        """Whether a turn waits to be answered."""
        return bool(self._queue)

    @property
    def pending_count(self) -> int:
        """How many turns wait to be answered."""
        return len(self._queue)

    @property
    def is_idle(self) -> bool:
        """Whether the agent waits for the caller, and nothing is left to answer."""
        return self._waiting > 0 and not self._queue

    def understood(
        self,
        text: str,
        through_sequence: int,
        timing_ms: tuple[int, int] = (0, 0),
        *,
        is_digit: bool = False,
        is_text: bool = False,
        through_message: int | None = None,
    ) -> None:
        """A turn of the caller is complete: save its words with the turn as pending, and hand it out.

        One that was typed (`is_text`) came in the client's message `through_message`, if it was the client's.
        """
        self._newest += 1
        turn = Turn(self._newest, text, through_sequence, *timing_ms, is_digit=is_digit, is_text=is_text)
        self._journal.understood(turn)
        self._queue.append(turn)
        self._emit(
            FinalTranscript(text, through_sequence, private_state=self.remember(), through_message=through_message)
        )
        self._changes.notify()

    async def next_turn(self) -> Turn:
        """End the turn being answered, and wait for the next one."""
        self.commit()
        await self.idle(lambda: bool(self._queue))
        return self.take_turn()

    def take_turn(self) -> Turn:
        """Begin with the oldest turn that waits."""
        turn = self._queue.popleft()
        self._is_committed = False
        self._state_before = self._saved_state
        self.steps.begin(turn.number)
        return turn

    async def digits(self, most: int, end: str, timeout_s: float) -> str:
        """Take the keys that follow out of the turns: as many, or up to `end`, a pause, or a turn of another kind."""
        key = self.steps.next_key("digits", {})
        begun = self._journal.tool(key)
        if begun is not None:
            return str(begun.result)
        taken: list[Turn] = []
        is_over = False
        while len(taken) < most and not is_over:
            has_come = await self.idle(lambda: bool(self._queue), timeout_s)
            if not has_come or not self._queue[0].is_digit:
                break
            taken.append(self._queue.popleft())
            is_over = taken[-1].text == end
        digits = "".join(turn.text for turn in taken[: -1 if is_over else None])
        self._journal.tool_begins(key, self.steps.turn, "digits")
        self._journal.tool_ended(key, digits)
        self._journal.consumed((turn.number for turn in taken), self._said_since)
        self._save()
        return digits

    async def idle(self, is_so: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Wait for the caller, and return whether it `is_so`; all that was asked of the agent is done meanwhile."""
        self._waiting += 1
        self._changes.notify()
        try:
            return await self._changes.until(is_so, timeout_s)
        finally:
            self._waiting -= 1

    def commit(self) -> None:
        """Save the state, and the turn as answered, together; raises `TypeError` for a state that is not plain."""
        newest = self._journal.committed
        if newest is not None and newest.turn > self.steps.turn:
            return  # the turn that committed is about to be repeated: what is saved is newer than the state here
        state = self._checked_state()
        self.end_turn()
        self._journal.committed = None
        is_changed = state != self._saved_state
        if is_changed or self._journal.to_state() != self._saved_journal:
            private_state = self.remember()
            self._saved_state = state
            self._emit(StateChanged(plain(state) if is_changed else None, private_state))

    async def commit_within(self, timeout_s: float | None) -> bool:
        """Save the state as it is within the turn; true once that cannot be lost, false after the timeout.

        In a repeated turn the state becomes what was committed here.
        """
        number, turn, newest = self.steps.next_commit(), self.steps.turn, self._journal.committed
        newest = None if newest is None or newest.turn != turn else newest
        if newest is not None and number <= newest.number:
            if number == newest.number:
                self._set_state(newest.state)
            return True
        state = self._checked_state()
        before = self._state_before if newest is None else newest.before
        self._journal.committed = Committed(turn, number, before, state)
        try:
            private_state = self.remember()
        except StateTooLarge:
            self._journal.committed = newest
            raise
        is_changed = state != self._saved_state
        self._saved_state = state
        return await self._saved_soon(StateChanged(plain(state) if is_changed else None, private_state), timeout_s)

    def abandon_turn(self) -> None:
        """Give the turn up that is being answered, and take the state as it was saved last; the agent begins anew."""
        self._journal.answered(self.steps.turn, self._said_since)
        self._is_committed = True
        self._set_state(self._saved_state)
        self.steps.repeat_prelude()
        self._save()

    def save_between(self) -> None:
        """Save the journal, and the state too where no turn is being answered."""
        if self._is_committed:
            self.commit()
        else:
            self._save()

    def end_turn(self) -> None:
        """The turn is over: that is saved together with what follows."""
        if not self._is_committed:
            self._journal.answered(self.steps.turn, self._said_since)
            self._is_committed = True

    def saved(self, checkpoint: int) -> None:
        """The session has saved all up to here."""
        self._saved_checkpoint = max(self._saved_checkpoint, checkpoint)
        self._changes.notify()

    def _said_since(self, turn: int) -> str:
        lines = () if self.session is None else self.session.transcript()
        return " ".join(line.text for line in lines if line.role == "agent" and line.turn >= turn)

    def remember(self) -> dict[str, Any]:
        """Return the journal as the private state, for an event that has it saved; raises `StateTooLarge`."""
        journal = self._journal.to_state()
        encoded = msgspec.msgpack.encode(journal)
        if len(encoded) > MAX_PRIVATE_STATE_BYTES:
            what = "the call's journal (pending turns, results of tools, what was said)"
            raise StateTooLarge(what, len(encoded), MAX_PRIVATE_STATE_BYTES)
        self._saved_journal = journal
        return msgspec.msgpack.decode(encoded)  # type: ignore[no-any-return]  # a copy of a map is a map

    def _checked_state(self) -> Any:
        """Return a copy of the state; raises `TypeError` where it is not plain, and `StateTooLarge`."""
        state = plain(self.state)
        size = len(encode_message(State(revision=_HIGHEST_REVISION, state=state)))
        if size > MAX_CONTROL_BYTES:
            raise StateTooLarge("call.state, as a message to the client,", size, MAX_CONTROL_BYTES)
        return state

    def _set_state(self, state: Any) -> None:
        self.state.clear()
        self.state.update(plain(state))

    def _save(self) -> None:
        self._emit(StateChanged(private_state=self.remember()))

    async def _checkpoint(self) -> None:
        """Save the journal, and return once that cannot be lost."""
        await self._saved_soon(StateChanged(private_state=self.remember()), None)

    async def _saved_soon(self, event: StateChanged, timeout_s: float | None) -> bool:
        checkpoint = next(self._checkpoints)
        self._emit(replace(event, checkpoint=checkpoint))
        return await self._changes.until(lambda: self._saved_checkpoint >= checkpoint, timeout_s)
