"""A short phrase for a caller who waits for a tool."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

from voice_gateway.agent.call.progress.progress import Progress
from voice_gateway.agent.call.speaking.replies import Replies, each_of
from voice_gateway.errors import AgentError

_Result = TypeVar("_Result")


class Filler:
    """Says `text` once a turn, where a tool takes longer than `after_s` and neither side speaks.

    What the agent says next waits until it was played. It is no step of the turn: where another worker repeats the
    turn it is neither expected nor said again.
    """

    def __init__(self, text: str, after_s: float, replies: Replies, progress: Progress) -> None:
        self._text = text
        self._after_s = after_s
        self._replies = replies
        self._progress = progress
        self._said_in: int | None = None
        self._saying: asyncio.Task[None] | None = None

    async def during(self, running: Awaitable[_Result]) -> _Result:
        """Wait for a tool, and return its result as soon as there is one."""
        if not self._text:
            return await running
        timer = asyncio.get_running_loop().call_later(self._after_s, self._begin)
        try:
            return await running
        finally:
            timer.cancel()

    def close(self) -> None:
        """Say nothing more."""
        if self._saying is not None:
            self._saying.cancel()

    def _begin(self) -> None:
        steps = self._progress.steps
        is_busy = self._replies.is_saying or self._replies.is_caller_speaking
        if is_busy or steps.has_said or steps.is_repeating_prelude or self._said_in == steps.turn:
            return
        self._said_in = steps.turn
        self._saying = asyncio.get_running_loop().create_task(self._say())

    async def _say(self) -> None:
        with suppress(AgentError):  # the answer that follows cannot be said either, and tells the agent
            await self._replies.say(each_of([self._text]))
