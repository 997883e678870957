"""The tools that an application offers the agent: each call runs once, also where the server asks again."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from voice_client.errors import InvalidSetting, MessageError
from voice_client.state_log import log_change
from voicelink.wire import ToolCall

_log = logging.getLogger(__name__)

_MOST_ANSWERS: Final = 256
_LONGEST_ERROR: Final = 1_000
_LONGEST_NAME: Final = 64

Tool = Callable[..., Any]
"""Takes the call's arguments by name and returns a plain value, or a coroutine of one."""


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a call returned, or why it returned nothing."""

    result: Any = None
    error: str | None = None


class Tools:
    """Runs tools by name, and gives each call's answer to `answer`, which raises `MessageError` if it cannot be sent.

    The answers to the newest 256 calls are kept, by the ID of the call. One event loop; `close` stops what runs.
    """

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._answers: OrderedDict[str, ToolAnswer] = OrderedDict()

    def register(self, name: str, tool: Tool) -> None:
        """Offer a tool under this name; one of the same name is replaced."""
        if not 1 <= len(name) <= _LONGEST_NAME:
            raise InvalidSetting(f"a tool's name has 1 to {_LONGEST_NAME} characters, got {name!r}")
        self._tools[name] = tool

    def call(self, call: ToolCall, answer: Callable[[str, ToolAnswer], None]) -> bool:
        """Run the tool, unless that was done or is being done; false where it was."""
        if call.call_id in self._running:
            return False
        before = self._answers.get(call.call_id)
        if before is not None:
            answer(call.call_id, before)
            return False
        tool = self._tools.get(call.name)
        if tool is None:
            self._answered(call.call_id, ToolAnswer(error=f"the client has no tool {call.name}"), answer)
            return False
        task = asyncio.get_running_loop().create_task(self._run(call, tool, answer))
        self._running[call.call_id] = task
        task.add_done_callback(lambda _task: self._running.pop(call.call_id, None))
        log_change(_log, "tool_called", tool=call.name, call=call.call_id)
        return True

    def cancel(self, call_id: str) -> None:
        """Stop the call if it runs; it is not answered."""
        task = self._running.get(call_id)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """Stop all calls."""
        for task in self._running.values():
            task.cancel()

    async def _run(self, call: ToolCall, tool: Tool, answer: Callable[[str, ToolAnswer], None]) -> None:
        arguments: Mapping[str, Any] = call.arguments
        try:
            result = tool(**arguments)
            answered = ToolAnswer(await result if inspect.isawaitable(result) else result)
        except Exception as error:  # a tool may raise anything; the agent gets it
            answered = ToolAnswer(error=(str(error) or type(error).__name__)[:_LONGEST_ERROR])
        self._answered(call.call_id, answered, answer)

    def _answered(self, call_id: str, answered: ToolAnswer, answer: Callable[[str, ToolAnswer], None]) -> None:
        try:
            answer(call_id, answered)
        except MessageError as error:
            answered = ToolAnswer(error=f"the result cannot be sent: {error}"[:_LONGEST_ERROR])
            answer(call_id, answered)
        self._answers[call_id] = answered
        while len(self._answers) > _MOST_ANSWERS:
            self._answers.popitem(last=False)
