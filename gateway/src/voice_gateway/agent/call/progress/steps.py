"""The steps of a turn: tools called and things said. A repeated turn meets its own steps again."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from voice_gateway.agent.base import Emit, SessionView, ToolBegan, ToolReturned
from voice_gateway.agent.call.progress.journal import Generated, Journal
from voice_gateway.agent.call.progress.tools import plain, returned, run_tool, tool_key
from voice_gateway.errors import StateTooLarge

_DIGEST_CHARACTERS: Final = 12


@dataclass(slots=True)
class _Numbers:
    """Numbers the steps of a turn, or of the tool with this key: those are not taken again once the tool is done."""

    tool: str = ""
    tools_called: int = 0
    says: Iterator[int] = field(default_factory=itertools.count)
    sends: Iterator[int] = field(default_factory=itertools.count)
    commits: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    is_over: bool = False


_of_tool: ContextVar[_Numbers | None] = ContextVar("numbers of a running tool's steps", default=None)


class Steps:
    """Numbers the steps of each turn, and looks them up in the journal; turn 0 is all before the first turn.

    `save` saves the journal soon, `checkpoint` returns once it is saved, `emit` tells the session which tools run.
    `said` is what earlier workers said in the turns that are pending.
    """

    def __init__(
        self,
        journal: Journal,
        save: Callable[[], None],
        checkpoint: Callable[[], Awaitable[None]],
        session: SessionView | None = None,
        said: Said | None = None,
        *,
        emit: Emit = lambda event: None,
    ) -> None:
        self.turn = 0
        self._journal = journal
        self._save = save
        self._checkpoint = checkpoint
        self._emit = emit
        self._session_id = "" if session is None else session.session_id
        self._has_had_turns = session is not None and session.turn > 0
        self._said = said or Said()
        self._of_turn = _Numbers()

    @property
    def tools_called(self) -> int:
        """How many tools were called in this turn, without those that tools called."""
        return self._of_turn.tools_called

    @property
    def is_repeating_prelude(self) -> bool:
        """Whether the agent is before its first turn, in a call that had turns at another worker."""
        return self._has_had_turns and self.turn == 0

    @property
    def has_said(self) -> bool:
        """Whether an earlier worker said something in the pending turns that was not said here yet."""
        return bool(self._said.text)

    def begin(self, turn: int, tools_called: int = 0) -> None:
        """The agent answers this turn now; the first `tools_called` tools of it are not called again."""
        self.turn = turn
        self._of_turn = _Numbers(tools_called=tools_called)

    async def tool(self, function: Callable[..., object], arguments: Mapping[str, object]) -> Any:
        """Call a tool, or return what it returned at an earlier worker."""
        name = getattr(function, "__name__", type(function).__name__)
        key = self.next_key(name, arguments)
        begun = self._journal.tool(key)
        if begun is None:
            self._journal.tool_begins(key, self.turn, name)
            try:
                await self._checkpoint()
            except StateTooLarge:
                self._journal.forget(key)
                raise
        if begun is not None and begun.is_done:
            return returned(function, plain(begun.result))
        with self._within(key), self._shown(key, name):
            result = plain(await run_tool(function, arguments, key))
        self._journal.tool_ended(key, result)
        try:
            await self._checkpoint()
        except StateTooLarge:
            self._journal.forget(key)
            raise
        return returned(function, plain(result))

    def next_key(self, name: str, arguments: Mapping[str, object]) -> str:
        """Number the next tool of this turn, or of the tool that runs, and return the key of its call."""
        numbers = self._numbers
        numbers.tools_called += 1
        return tool_key(numbers.tool or self._session_id, self.turn, numbers.tools_called - 1, name, arguments)

    def next_send(self, data: Mapping[str, object]) -> str:
        """Number the next message to the application, and return its digest."""
        numbers = self._numbers
        key = tool_key(numbers.tool or self._session_id, self.turn, next(numbers.sends), "", data)
        return key[:_DIGEST_CHARACTERS]

    def next_commit(self) -> int:
        """Number the next commit of this turn; raises `RuntimeError` in a tool, which is not repeated."""
        numbers = self._numbers
        if numbers.tool:
            raise RuntimeError("call.commit cannot be called in a tool: commit once the tool has returned")
        return next(numbers.commits)

    def repeat_prelude(self) -> None:
        """The agent begins anew in a call that has had turns."""
        self.turn = 0
        self._has_had_turns = True
        self._said = Said()
        self._of_turn = _Numbers()

    def next_say(self) -> str:
        """Number the next thing that is said in this turn, or by the tool that runs."""
        numbers = self._numbers
        return f"{numbers.tool[:_DIGEST_CHARACTERS]}.{next(numbers.says)}".removeprefix(".")

    def generated_before(self, ordinal: str) -> Generated | None:
        """Return what was said under this number at an earlier worker, where its whole text is known."""
        return self._journal.said(self.turn, ordinal)

    def generated(self, ordinal: str, text: str, *, is_cut: bool = False, played_ms: int = 0) -> None:
        """Keep what a stream gave, or what of an interrupted text was played, until the turn is over."""
        self._journal.generated(ordinal, Generated(self.turn, text, is_cut, played_ms))
        try:
            self._save()
        except StateTooLarge:
            self._journal.forget(f"{self.turn}.{ordinal}")
            raise

    def was_said(self, text: str) -> bool:
        """Whether the next thing that an earlier worker said in these turns was this text; asked in order."""
        return self._said.begins_with(text)

    @property
    def _numbers(self) -> _Numbers:
        of_tool = _of_tool.get()
        return self._of_turn if of_tool is None or of_tool.is_over else of_tool

    @contextmanager
    def _shown(self, key: str, name: str) -> Iterator[None]:
        self._emit(ToolBegan(key, name))
        try:
            yield
        except BaseException:
            self._emit(ToolReturned(key, has_failed=True))
            raise
        self._emit(ToolReturned(key))

    @contextmanager
    def _within(self, key: str) -> Iterator[None]:
        numbers = _Numbers(key)
        token = _of_tool.set(numbers)
        try:
            yield
        finally:
            numbers.is_over = True
            _of_tool.reset(token)


class Said:
    """What earlier workers said in the turns that are pending; a `filler` among it is no step of theirs."""

    def __init__(self, text: str = "", filler: str = "") -> None:
        self.text = text
        self._filler = filler

    def begins_with(self, text: str) -> bool:
        """Take `text` off the beginning; where that is something else, the rest is of no use any more."""
        for filler in ("", self._filler):
            rest = self.text.removeprefix(filler).lstrip()
            if rest and (rest == text or rest.startswith(f"{text} ")):
                self.text = rest[len(text) :].lstrip()
                return True
        self.text = ""
        return False
