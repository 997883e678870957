"""The tools that the vendor's model called, and that have not returned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from voice_gateway.agents.bridges.bridge.call.functions import Functions
from voice_gateway.agents.bridges.bridge.call.session.current_session import CurrentSession
from voice_gateway.agents.bridges.bridge.call.turns import BridgeTurns
from voice_gateway.agents.bridges.bridge.vendor import ToolRequested


class BridgeTools:
    """Gives each result to the session that called the tool. `on_failed` gets a sentence, `on_ended` follows each."""

    def __init__(
        self,
        functions: Functions,
        turns: BridgeTurns,
        current: CurrentSession,
        on_ended: Callable[[], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self._functions = functions
        self._turns = turns
        self._current = current
        self._on_ended = on_ended
        self._on_failed = on_failed
        self._tasks: set[asyncio.Task[None]] = set()

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def start(self, request: ToolRequested) -> None:
        """Run the tool, within the journal of the turn."""
        task = asyncio.get_running_loop().create_task(self._run(request, self._current.number))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def close(self) -> None:
        """Cancel those that run."""
        for task in self._tasks:
            task.cancel()

    async def _run(self, request: ToolRequested, session_number: int) -> None:
        output = await self._functions.call(self._turns.steps, request.name, request.arguments)
        if session_number == self._current.number and self._current.is_ready:
            self._current.send(self._current.session.tool_returned(request.call_id, output))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failed(f"a tool could not be journalled: {type(error).__name__}")
        self._on_ended()
