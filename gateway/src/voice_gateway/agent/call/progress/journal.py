"""What of a call must outlive its worker besides the state: turns without a whole answer, and steps of theirs. Sans-IO.

A step is a tool's call, or something said. It is kept until its turn is over: where another worker runs the turn
again, a step that is done returns what it returned before. Steps before the first turn are kept for the whole call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from voice_gateway.agent.call.progress.messages import MessageJournal


@dataclass(frozen=True, slots=True)
class Turn:
    """What the caller said, typed (`is_text`), or the key of a telephone that was pressed; `number` counts from 1.

    `through_sequence` is the last uplink frame of it. `started_ms` and `ended_ms` are when speech was noticed and when
    it was over, in ms of the audio that this worker had received. `is_again` after another worker, whose answer was
    not finished, had begun with the turn.
    """

    number: int
    text: str
    through_sequence: int
    started_ms: int = 0
    ended_ms: int = 0
    is_digit: bool = False
    is_text: bool = False
    is_again: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of the tool `name` in `turn`; `result` is plain, and holds only where `is_done`."""

    turn: int
    name: str
    is_done: bool = False
    result: Any = None


@dataclass(frozen=True, slots=True)
class Generated:
    """The whole text that a stream gave in `turn`; of one that was interrupted (`is_cut`) what was played."""

    turn: int
    text: str
    is_cut: bool = False
    played_ms: int = 0


@dataclass(frozen=True, slots=True)
class Committed:
    """The agent's state as of the commit `number` in `turn`, and from `before` the turn, with which it is repeated."""

    turn: int
    number: int
    before: Any
    state: Any


class Journal:
    """Turns that are pending and the steps taken for them; `to_state` is what is saved, in the private state."""

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        saved = saved or {}
        self._pending = [Turn(**{**turn, "is_again": True}) for turn in saved.get("pending", ())]
        self._tools = {key: ToolCall(**each) for key, each in saved.get("tools", {}).items()}
        self._said = {key: Generated(**each) for key, each in saved.get("said", {}).items()}
        self._said_before: int = saved.get("said_before", 0)
        self.messages = MessageJournal(saved)
        committed = saved.get("committed")
        self.committed = None if committed is None else Committed(**committed)
        """The newest commit of the turn that is being answered."""

    @property
    def said_before(self) -> int:
        """How many characters, of what was said since the oldest pending turn, belong to turns before it."""
        return self._said_before

    @property
    def pending(self) -> tuple[Turn, ...]:
        """The turns whose answer is not finished, oldest first."""
        return tuple(self._pending)

    def understood(self, turn: Turn) -> None:
        """A turn of the caller is complete."""
        self._pending.append(turn)

    def answered(self, number: int, said_since: Callable[[int], str] = lambda _turn: "") -> None:
        """The turn's answer is finished: its steps will not be taken again.

        `said_since` returns what was said from a turn on. Where the next turn was complete before this one was
        answered, that includes this one's answer, which must not be taken for the next one's.
        """
        self._remove({number}, said_since)
        self._tools = {key: each for key, each in self._tools.items() if each.turn == 0 or each.turn > number}
        self._said = {key: each for key, each in self._said.items() if each.turn == 0 or each.turn > number}
        if self.committed is not None and self.committed.turn <= number:
            self.committed = None
        self.messages.answered(number)

    def consumed(self, numbers: Iterable[int], said_since: Callable[[int], str]) -> None:
        """These turns were part of the answer to another one; `said_since` as of `answered`."""
        self._remove(set(numbers), said_since)

    def tool(self, key: str) -> ToolCall | None:
        """Return the call that was made under this key, finished or not."""
        return self._tools.get(key)

    def tool_begins(self, key: str, turn: int, name: str) -> None:
        """The tool is about to be called."""
        self._tools[key] = ToolCall(turn, name)

    def tool_ended(self, key: str, result: Any) -> None:
        """The tool returned this plain value; too late for a turn that is over."""
        begun = self._tools.get(key)
        if begun is not None:
            self._tools[key] = ToolCall(begun.turn, begun.name, is_done=True, result=result)

    def said(self, turn: int, ordinal: str) -> Generated | None:
        """Return what the stream said there gave, where it had given all, or was cut off."""
        return self._said.get(f"{turn}.{ordinal}")

    def generated(self, ordinal: str, generated: Generated) -> None:
        """A stream gave its whole text, or what was said was interrupted."""
        self._said[f"{generated.turn}.{ordinal}"] = generated

    def forget(self, key: str) -> None:
        """A tool's call, or what was said as `turn.ordinal`, cannot be saved."""
        self._tools.pop(key, None)
        self._said.pop(key, None)

    def to_state(self) -> dict[str, Any]:
        """Return plain maps, of nothing where nothing is pending."""
        state = {
            "pending": [asdict(turn) for turn in self._pending],
            "tools": {key: asdict(each) for key, each in self._tools.items()},
            "said": {key: asdict(each) for key, each in self._said.items()},
            "said_before": self._said_before,
            "committed": None if self.committed is None else asdict(self.committed),
            **self.messages.to_state(),
        }
        return {key: value for key, value in state.items() if value}

    def _remove(self, numbers: Collection[int], said_since: Callable[[int], str]) -> None:
        oldest = self._pending[:1]
        self._pending = [turn for turn in self._pending if turn.number not in numbers]
        if self._pending[:1] != oldest:  # else what was said since is the answer to the oldest one, as before
            self._said_before = len(said_since(self._pending[0].number)) if self._pending else 0
