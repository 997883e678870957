"""Tools: type-hinted Python functions, sync or async, with a JSON schema and a key for each call."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast, get_type_hints

import msgspec

_KEY: Final = "key"
"""The parameter that gets the call's key, by which a tool may know a repeated call."""
_KEY_CHARACTERS: Final = 32


def tool_schema(function: Callable[..., object]) -> dict[str, Any]:
    """Return name, description and parameters (JSON schema) of a tool, as language models take them.

    The description is the first paragraph of its docstring. A parameter `key` is left out: it is not the model's.
    Raises `TypeError` for a parameter without a type hint.
    """
    hints = get_type_hints(function)
    parameters = {name: each for name, each in inspect.signature(function).parameters.items() if name != _KEY}
    bare = [name for name in parameters if name not in hints]
    if bare:
        raise TypeError(f"the tool {function.__name__} needs a type hint for {', '.join(bare)}")
    schemas, components = msgspec.json.schema_components(
        [hints[name] for name in parameters], ref_template="#/$defs/{name}"
    )
    properties = dict(zip(parameters, schemas, strict=True))
    for name, each in parameters.items():
        if each.default is not each.empty:
            properties[name] = {**properties[name], "default": msgspec.to_builtins(each.default)}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": [name for name, each in parameters.items() if each.default is each.empty],
        "additionalProperties": False,
    }
    if components:
        schema["$defs"] = components
    description = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
    return {"name": function.__name__, "description": description, "parameters": schema}


def tool_key(session_id: str, turn: int, ordinal: int, name: str, arguments: Mapping[str, object]) -> str:
    """Return the key of one call: a hash of session, turn, number of the call in the turn, name and arguments."""
    plain = msgspec.to_builtins([session_id, turn, ordinal, name, dict(arguments)], order="deterministic")
    return hashlib.sha256(msgspec.json.encode(plain, order="deterministic")).hexdigest()[:_KEY_CHARACTERS]


async def run_tool(function: Callable[..., object], arguments: Mapping[str, object], key: str) -> object:
    """Call the tool, one that is not async in a thread; with its `key`, where it has a parameter of that name."""
    taken = dict(arguments)
    if _KEY in inspect.signature(function).parameters:
        taken[_KEY] = key
    if inspect.iscoroutinefunction(function):
        return await cast(Awaitable[object], function(**taken))
    result = await asyncio.to_thread(function, **taken)
    return await result if inspect.isawaitable(result) else result


def plain(value: object) -> Any:
    """Return a copy in plain maps, lists, strings and numbers; raises `TypeError` for what cannot be saved."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value))


def returned(function: Callable[..., object], result: Any) -> Any:
    """Turn a plain result into the type that the tool's hint for its return names; without a hint it stays plain."""
    hint = get_type_hints(function).get("return")
    return result if hint is None or hint is type(None) else msgspec.convert(result, hint)
