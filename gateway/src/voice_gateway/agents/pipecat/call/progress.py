"""What of a call is saved with its session: the pipeline's context, the turn, the state, and the steps of tools."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from voice_gateway.agent.base import Emit, SessionView, StateChanged
from voice_gateway.agent.call.progress.journal import Journal
from voice_gateway.agent.call.progress.steps import Steps
from voice_gateway.agent.call.progress.tools import plain
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.pipecat.call.saved import Saved, plain_messages

if TYPE_CHECKING:
    from pipecat.processors.aggregators.llm_context import LLMContext


class PipelineProgress:
    """Saves the context with each turn, and restores it. `state` is the agent's own, to be changed in place."""

    def __init__(self, emit: Emit, changes: Changes, state: Mapping[str, Any] | None) -> None:
        self.state: dict[str, Any] = plain(state or {})
        self.session_id = ""
        self.is_pending = False
        """Whether the answer to the last turn was neither made whole nor cut off."""
        self._emit = emit
        self._changes = changes
        self._saved_state = plain(self.state)
        self._turn = 0
        self._answer = ""
        self._restored = Saved()
        self._context: LLMContext | None = None
        self._journal = Journal()
        self._steps = Steps(self._journal, self._save, self._checkpoint, emit=emit)
        self._checkpoints = itertools.count(1)
        self._saved_checkpoint = 0

    @property
    def is_restored(self) -> bool:
        """Whether the call had a turn, or a context, before this pipeline."""
        return bool(self._restored.messages) or self._turn > 0

    @property
    def has_answer(self) -> bool:
        """Whether an answer is made whole that the context does not hold yet."""
        return bool(self._answer)

    @property
    def restored_answer(self) -> str:
        """The answer that was made whole at another worker, and not played to its end there; else empty."""
        return self._restored.answer

    def restore(self, session: SessionView) -> None:
        """Go on from what was saved."""
        self.session_id, self._turn = session.session_id, session.turn
        private = session.private_state
        self._restored = Saved.from_state(private.get("pipeline", {}))
        self.is_pending = self._restored.is_pending
        self._journal = Journal(private)
        self._steps = Steps(self._journal, self._save, self._checkpoint, session, emit=self._emit)
        self._steps.begin(self._turn)

    def fill(self, context: LLMContext | None, *, is_answer_said: bool) -> None:
        """Give the pipeline's context what was saved, and save it from now on.

        An answer that was made whole goes with it, unless it is said again, which adds it.
        """
        self._context = context
        if context is not None and self._restored.messages:
            messages = list(self._restored.messages)
            if self._restored.answer and not is_answer_said:
                messages.append({"role": "assistant", "content": self._restored.answer})
            context.set_messages(messages)  # type: ignore[arg-type,unused-ignore]  # pipecat types them as of OpenAI

    def saved(self, checkpoint: int) -> None:
        """The state of this checkpoint cannot be lost any more."""
        self._saved_checkpoint = max(self._saved_checkpoint, checkpoint)
        self._changes.notify()

    def begin_turn(self, message: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A turn is complete; return what to save with it. `message` is its words, where the context lacks them yet."""
        self._turn += 1
        self.is_pending, self._answer = True, ""
        self._steps.begin(self._turn)
        return self._remember(message)

    def answer_made(self, text: str) -> None:
        """All of the answer was made: it is said again, and not made again, where this worker dies."""
        self._answer, self.is_pending = text, False
        self._save()

    def answered(self) -> None:
        """Nothing is owed to the turn any more."""
        self.is_pending, self._answer = False, ""
        self._journal.answered(self._turn)
        self._save()

    async def tool(self, run: Callable[..., Awaitable[Any]], arguments: Mapping[str, Any]) -> Any:
        """Call a tool of the turn that is pending, or return what it returned at an earlier worker."""
        return await self._steps.tool(run, arguments)

    def _save(self) -> None:
        self._emit(StateChanged(self._changed_state(), self._remember()))

    async def _checkpoint(self) -> None:
        checkpoint = next(self._checkpoints)
        self._emit(StateChanged(private_state=self._remember(), checkpoint=checkpoint))
        await self._changes.until(lambda: self._saved_checkpoint >= checkpoint)

    def _changed_state(self) -> dict[str, Any] | None:
        state = plain(self.state)
        if state == self._saved_state:
            return None
        self._saved_state = state
        return plain(state)  # type: ignore[no-any-return]  # a copy of a map is a map

    def _remember(self, message: Mapping[str, Any] | None = None) -> dict[str, Any]:
        messages = self._restored.messages if self._context is None else plain_messages(self._context.get_messages())
        if message is not None:
            messages = (*messages, message)
        saved = Saved(messages, self.is_pending, self._answer)
        return {"pipeline": saved.to_state(), **plain(self._journal.to_state())}
