"""Language models: their interface, and answering a turn with one that may call tools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol, get_type_hints

import msgspec

from voice_gateway.agent.call.call import Call
from voice_gateway.agent.call.progress.tools import plain, run_tool, tool_schema
from voice_gateway.agent.call.speaking.replies import Spoken, each_of
from voice_gateway.errors import AgentError

Message = Mapping[str, Any]
"""One message of a conversation, as OpenAI's chat API writes it; `Call.history` is a list of them."""

Tool = Callable[..., object]
"""A type-hinted function, sync or async, as `tool_schema` takes it."""


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A model wants this tool called; `arguments` is a JSON object as the model wrote it."""

    id: str
    name: str
    arguments: str


class LanguageModel(Protocol):
    """A model that writes the next message. Errors are `AgentError`s; the caller then hears the apology."""

    def stream(self, messages: Sequence[Message]) -> AsyncGenerator[str, None]:
        """Yield the answer's text in pieces."""

    def choose(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]
    ) -> AsyncGenerator[str | ToolRequest, None]:
        """Yield text in pieces, and the calls of `tools` (each as `tool_schema` returns it) that the model wants."""


class ToolError(Exception):
    """Raised by a tool for what the model may tell the caller, or try otherwise: its text is the tool's result."""


async def answer(
    call: Call, model: LanguageModel, tools: Sequence[Tool] = (), *, instructions: str = "", most_rounds: int = 8
) -> Spoken:
    """Say the model's answer to `call.history`, calling the tools that it asks for; return what was played last.

    Text is said as it comes. What the model chose, and the result of each tool with the `call.state` that the tool left
    behind, are journalled: another worker goes on behind the last one. So a tool may change `call.state`. A tool that
    takes `key` gets that of its call, the model does not see it. `instructions` are put before the history. Raises
    `AgentError` where the model still asks for tools after `most_rounds`, and what a tool raises besides `ToolError`.
    """
    functions = {each.__name__: each for each in tools}
    schemas = [tool_schema(each) for each in tools]
    messages = [*([{"role": "system", "content": instructions}] if instructions else []), *_asked(call)]
    for number in range(most_rounds):
        choice, spoken = await _choose(call, model, messages, schemas, number)
        if not choice.requests:
            return spoken
        messages.append(_as_message(choice))
        for request in choice.requests:
            result = await _act(call, functions, request)
            content = result if isinstance(result, str) else msgspec.json.encode(result).decode()
            messages.append({"role": "tool", "tool_call_id": request.id, "content": content})
    raise AgentError(f"the language model asked for tools {most_rounds} times in one turn")


@dataclass(frozen=True, slots=True)
class _Choice:
    """What the model answered: text to say, and tools to call."""

    text: str
    requests: tuple[ToolRequest, ...] = ()


def _asked(call: Call) -> list[Message]:
    """The history up to the caller's last words: what was said of their answer is said again by the model itself."""
    messages: list[Message] = list(call.history)
    while messages and messages[-1]["role"] != "user":
        messages.pop()
    return messages or list(call.history)


async def _choose(
    call: Call, model: LanguageModel, messages: Sequence[Message], schemas: Sequence[Mapping[str, Any]], number: int
) -> tuple[_Choice, Spoken]:
    """Ask the model as a tool of the call, which journals its choice, and say its text meanwhile."""
    pieces: asyncio.Queue[str | None] = asyncio.Queue()

    async def ask_model(number: int) -> _Choice:
        said: list[str] = []
        requests: list[ToolRequest] = []
        async with aclosing(model.choose(messages, schemas)) as chosen:
            async for piece in chosen:
                if isinstance(piece, ToolRequest):
                    requests.append(piece)
                elif piece:
                    said.append(piece)
                    pieces.put_nowait(piece)
        return _Choice("".join(said), tuple(requests))

    asking = asyncio.ensure_future(call.tool(ask_model, number=number))
    asking.add_done_callback(lambda _: pieces.put_nowait(None))
    spoken = Spoken()
    try:
        first = await pieces.get()
        if first is not None:
            spoken = await call.say(_pieces(first, pieces))
        choice = await asking
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    if first is None and choice.text.strip():  # chosen at another worker
        spoken = await call.say(each_of([choice.text]))
    return choice, spoken


async def _pieces(first: str, more: asyncio.Queue[str | None]) -> AsyncIterator[str]:
    piece: str | None = first
    while piece is not None:
        yield piece
        piece = await more.get()


def _as_message(choice: _Choice) -> Message:
    return {
        "role": "assistant",
        "content": choice.text or None,
        "tool_calls": [
            {"id": each.id, "type": "function", "function": {"name": each.name, "arguments": each.arguments}}
            for each in choice.requests
        ],
    }


async def _act(call: Call, functions: Mapping[str, Tool], request: ToolRequest) -> Any:
    """Call a tool, and return its result; what the model got wrong is the result."""
    function = functions.get(request.name)
    if function is None:
        return {"error": f"there is no tool {request.name}; there are {', '.join(functions) or 'none'}"}
    try:
        arguments = _arguments(function, request.arguments)
    except (msgspec.MsgspecError, TypeError) as error:
        return {"error": f"the arguments of {request.name} are wrong: {error}"}

    async def act(arguments: dict[str, Any], key: str) -> dict[str, Any]:
        try:
            result = plain(await run_tool(function, _converted(function, arguments), key))
        except ToolError as error:
            result = {"error": str(error)}
        return {"result": result, "state": plain(call.state)}

    act.__name__ = request.name
    done = await call.tool(act, arguments=arguments)
    if done["state"] != call.state:
        call.state.clear()
        call.state.update(done["state"])
    return done["result"]


def _arguments(function: Tool, text: str) -> dict[str, Any]:
    """Return the arguments of a request as plain values that fit the function; raises what says why they do not."""
    given = msgspec.json.decode(text, type=dict[str, Any])
    properties = tool_schema(function)["parameters"]
    if unknown := sorted(given.keys() - properties["properties"].keys()):
        raise TypeError(f"there is no {', '.join(unknown)}")
    if missing := [name for name in properties["required"] if name not in given]:
        raise TypeError(f"{', '.join(missing)} is missing")
    _converted(function, given)
    return given


def _converted(function: Tool, given: Mapping[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(function)
    return {name: msgspec.convert(value, hints[name]) for name, value in given.items()}
