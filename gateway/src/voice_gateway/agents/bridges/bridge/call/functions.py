"""The tools of a bridge: Python functions that the settings name, called with the arguments that a model chose."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

import msgspec
import structlog

from voice_gateway.agent.call.progress.steps import Steps
from voice_gateway.agent.call.progress.tools import tool_schema
from voice_gateway.errors import AgentError

_log = structlog.get_logger("voice_gateway.agents.bridges")


class Functions:
    """Tools by name; raises `AgentError`, one sentence, for one that cannot be found or has no type hints."""

    def __init__(self, names: Sequence[str]) -> None:
        self._functions: dict[str, Callable[..., object]] = {}
        self.schemas: list[dict[str, Any]] = []
        for name in names:
            function = _found(name)
            try:
                schema = tool_schema(function)
            except (TypeError, NameError) as error:
                raise AgentError(f"agent.settings.tools: {name}: {error}") from error
            if schema["name"] in self._functions:
                raise AgentError(f"agent.settings.tools: two tools are called {schema['name']}: rename one")
            self._functions[schema["name"]] = function
            self.schemas.append(schema)

    async def call(self, steps: Steps, name: str, arguments: str) -> str:
        """Call a tool within the journal, and return its result as JSON: `{"error": ...}` where it has none."""
        function = self._functions.get(name)
        if function is None:
            return _error(f"there is no tool {name}")
        try:
            taken = _arguments(function, arguments)
        except (msgspec.DecodeError, msgspec.ValidationError, TypeError) as error:
            return _error(f"the arguments do not fit: {error}")
        try:
            result = await steps.tool(function, taken)
        except (Exception, SystemExit) as error:  # a task that raises SystemExit would end the worker
            _log.warning("bridge_tool_failed", tool=name, error=type(error).__name__)
            return _error(f"{name} failed: {type(error).__name__}")
        return msgspec.json.encode(result).decode()


def _found(name: str) -> Callable[..., object]:
    module_name, colon, attribute = name.partition(":")
    if not colon or not attribute.isidentifier():
        raise AgentError(f"agent.settings.tools: a tool is named package.module:function, got {name!r}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise AgentError(
            f"agent.settings.tools: the module of {name!r} cannot be imported: {type(error).__name__}"
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise AgentError(f"agent.settings.tools: the module {module_name} has no function {attribute}")
    return function  # type: ignore[no-any-return]  # `callable` narrows to a function of unknown parameters


def _arguments(function: Callable[..., object], text: str) -> Mapping[str, object]:
    """Convert JSON to what the hints name. The key of a call is ours, never the model's."""
    given = msgspec.json.decode(text or "{}", type=dict[str, Any])
    given.pop("key", None)
    hints = get_type_hints(function)
    taken = {name: msgspec.convert(value, hints.get(name, Any), strict=False) for name, value in given.items()}
    parameters = inspect.signature(function).parameters
    inspect.signature(function).bind(**taken, **({"key": ""} if "key" in parameters else {}))
    return taken


def _error(sentence: str) -> str:
    return msgspec.json.encode({"error": sentence}).decode()
