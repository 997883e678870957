"""Function tools whose calls are journalled, as those of a call agent are."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, ParamSpec, TypeVar, get_type_hints

from livekit.agents import RunContext

from voice_gateway.agent.call.progress.steps import Steps
from voice_gateway.errors import AgentError

CURRENT_STEPS: ContextVar[Callable[[], Steps]] = ContextVar("voice_gateway_livekit_steps")
"""Returns the steps of the turn that the current task works for."""
_KEY: Final = "key"
_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def journalled(function: Callable[_Parameters, _Result]) -> Callable[..., Any]:
    """Save that a tool is called before the call, and its result after it; goes below `@function_tool`.

    A repeated turn that makes the same call gets the saved result, or, where there is none, calls the tool with the
    same `key`: a parameter of that name is filled in here, and hidden from the language model. Results are plain
    values, or of the type of the function's hint. Raises `AgentError` outside of a call.
    """
    signature = inspect.signature(function)
    parameters = [each for name, each in signature.parameters.items() if name != _KEY]

    @functools.wraps(function)
    async def journalled_tool(*args: object, **kwargs: object) -> Any:
        steps = CURRENT_STEPS.get(None)
        if steps is None:
            raise AgentError(f"the tool {function.__name__} is journalled and runs in the calls of a LiveKitAgent only")
        given = signature.bind_partial(*args, **kwargs).arguments
        fixed = {name: each for name, each in given.items() if name == "self" or isinstance(each, RunContext)}
        arguments = {name: each for name, each in given.items() if name not in fixed}
        return await steps().tool(_with(function, fixed), arguments)

    hints = get_type_hints(function, include_extras=True) if not _is_local(function) else function.__annotations__
    journalled_tool.__annotations__ = {name: each for name, each in hints.items() if name != _KEY}
    journalled_tool.__dict__["__signature__"] = signature.replace(parameters=parameters)
    return journalled_tool


def _is_local(function: Callable[..., object]) -> bool:
    """Whether its hints may name what is known in another function only."""
    return "<locals>" in function.__qualname__


def _with(function: Callable[..., Any], fixed: dict[str, Any]) -> Callable[..., Any]:
    """Return the function with arguments that no journal keeps; its name, signature and hints stay."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call(**arguments: Any) -> Any:
            return await function(**fixed, **arguments)

        return call

    @functools.wraps(function)
    def call_sync(**arguments: Any) -> Any:
        return function(**fixed, **arguments)

    return call_sync
