"""The client's application as a call sees it: tools that it runs, and messages both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from voice_gateway.agent.base import (
    AppMessage,
    CallClientTool,
    CancelClientTool,
    ClientToolResult,
    Emit,
    SendAppMessage,
    StateChanged,
)
from voice_gateway.agent.call.progress.progress import Progress
from voice_gateway.agent.call.progress.tools import plain
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.errors import GatewayError
from voicelink.wire import MAX_MESSAGE_BYTES, is_plain

_PREFIX: Final = "client:"
"""Of the names of client tools in the journal: a client cannot answer for a tool of the worker's."""
_FRAMING_BYTES: Final = 512
_LONGEST_NAME: Final = 64
_LONGEST_TIMEOUT_S: Final = 3_600.0
_MOST_DATA_BYTES: Final = MAX_MESSAGE_BYTES - _FRAMING_BYTES


class ClientToolError(GatewayError):
    """A tool of the client gave no result; `name` is the tool's, and the text what the client says of it."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"the client's tool {name}: {reason}")
        self.name = name
        self.reason = reason


class ClientToolTimeout(ClientToolError):  # noqa: N818 - it says what happened
    """The client did not answer in time."""


class ClientToolInterrupted(ClientToolError):  # noqa: N818 - as above
    """The caller spoke, typed or pressed a key, and the call was to be cancelled then."""


_ERRORS: Final[Mapping[str, type[ClientToolError]]] = {
    "failed": ClientToolError,
    "timeout": ClientToolTimeout,
    "interrupted": ClientToolInterrupted,
}


class Client:
    """Calls tools once, by a key in the journal, and hands out the application's messages in order."""

    def __init__(self, emit: Emit, progress: Progress, changes: Changes) -> None:
        self._emit = emit
        self._progress = progress
        self._changes = changes
        self._interruptions = 0
        self._given: int | None = None

    async def tool(
        self, name: str, arguments: Mapping[str, object], timeout_s: float, *, cancel_on_interrupt: bool
    ) -> Any:
        """Return what the client's tool returned, here or at an earlier worker; raises `ClientToolError`.

        Raises `ValueError` for a name, arguments or a timeout that no client takes.
        """
        if not 1 <= len(name) <= _LONGEST_NAME:
            raise ValueError(f"a client tool's name has 1 to {_LONGEST_NAME} characters, got {name!r}")
        if not 0 < timeout_s <= _LONGEST_TIMEOUT_S:
            raise ValueError(f"call.client_tool takes a timeout_s above 0 and up to 3,600, got {timeout_s:g}")
        _check("call.client_tool", arguments)
        steps = self._progress.steps
        key = steps.next_key(_PREFIX + name, arguments)
        if self._progress.journal.tool(key) is None:
            self._progress.journal.tool_begins(key, steps.turn, _PREFIX + name)
        if not self._is_done(key):
            sent = plain(dict(arguments))
            self._emit(CallClientTool(key, name, sent, timeout_s, private_state=self._progress.remember()))
            await self._answer(key, timeout_s, cancel_on_interrupt=cancel_on_interrupt)
        call = self._progress.journal.tool(key)
        outcome = {"error": "the turn ended before it"} if call is None else call.result
        if "error" in outcome:
            raise _ERRORS[outcome.get("kind", "failed")](name, outcome["error"])
        return plain(outcome["result"])

    def send(self, data: Mapping[str, object]) -> None:
        """Send a message to the application; raises `ValueError` for what is no map of plain values, or too large."""
        _check("call.send", data)
        journal, steps = self._progress.journal, self._progress.steps
        digest = steps.next_send(data)
        if journal.messages.send(steps.turn, digest):
            self._emit(SendAppMessage(plain(dict(data)), private_state=self._progress.remember()))

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Yield each message of the application; one is over when the next is asked for, and is not repeated then."""
        while True:
            inbox = self._progress.journal.messages
            if self._given is not None:
                inbox.forget(self._given)
                self._given = None
                self._progress.save_between()
            await self._progress.idle(lambda: self._progress.journal.messages.oldest is not None)
            oldest = self._progress.journal.messages.oldest
            if oldest is not None:
                self._given, data = oldest
                yield plain(data)

    def message_received(self, message: AppMessage) -> None:
        """Save the message, until the agent has read it."""
        self._progress.journal.messages.received(message.number, message.data)
        self._emit(StateChanged(private_state=self._progress.remember(), through_message=message.number))
        self._changes.notify()

    def tool_returned(self, result: ClientToolResult) -> None:
        """Save what the tool returned; an answer to no call that waits is acknowledged alone."""
        call = self._progress.journal.tool(result.call_id)
        if call is not None and not call.is_done and call.name.startswith(_PREFIX):
            outcome = {"result": result.result} if result.error is None else {"error": result.error}
            self._end(result.call_id, outcome)
            self._emit(StateChanged(private_state=self._progress.remember(), through_message=result.number))
        elif result.number is not None:
            self._emit(StateChanged(through_message=result.number))

    def interrupted(self) -> None:
        """The caller spoke, typed or pressed a key."""
        self._interruptions += 1
        self._changes.notify()

    async def _answer(self, key: str, timeout_s: float, *, cancel_on_interrupt: bool) -> None:
        interruptions = self._interruptions

        def is_interrupted() -> bool:
            return cancel_on_interrupt and self._interruptions > interruptions

        try:
            has_ended = await self._changes.until(lambda: self._is_done(key) or is_interrupted(), timeout_s)
        except BaseException:
            self._give_up(key, {"error": "it was cancelled"})
            raise
        if self._is_done(key):
            return
        if has_ended:
            self._give_up(key, {"error": "the caller interrupted it", "kind": "interrupted"})
        else:
            self._give_up(key, {"error": f"no answer came within {timeout_s:g} s", "kind": "timeout"})

    def _give_up(self, key: str, outcome: dict[str, Any]) -> None:
        if not self._is_done(key):
            self._end(key, outcome)
            self._emit(CancelClientTool(key, private_state=self._progress.remember()))

    def _end(self, key: str, outcome: dict[str, Any]) -> None:
        self._progress.journal.tool_ended(key, outcome)
        self._changes.notify()

    def _is_done(self, key: str) -> bool:
        """Whether the call is over; also where its turn is, as in a task that outlasts it."""
        call = self._progress.journal.tool(key)
        return call is None or call.is_done


def _check(method: str, data: object) -> None:
    if not isinstance(data, Mapping) or not is_plain(data):
        raise ValueError(f"{method} takes plain values by name: None, booleans, numbers, strings, lists and maps")
    size = len(msgspec.msgpack.encode(data))
    if size > _MOST_DATA_BYTES:
        raise ValueError(f"{method} takes at most {_MOST_DATA_BYTES} bytes, got {size}")
