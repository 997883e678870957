"""Finds an agent by its name and makes it.

A name is that of an entry point of the group `voice_gateway.agents`, or `package.module:Class`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, cast

from pydantic import BaseModel, ValidationError

from quiclb.settings.loader import describe_faults
from voice_gateway.agent.base import Agent
from voice_gateway.agent.call.agent import CallAgent, as_agent
from voice_gateway.errors import AgentError, GatewayError
from voicelink.errors import VoiceLinkError

ENTRY_POINTS: Final = "voice_gateway.agents"
_SETTINGS: Final = "agent.settings"
_EXTRAS: Final = {
    "livekit": "voice-gateway[livekit]",
    "livekit.agents": "voice-gateway[livekit]",
    "openai": "voice-gateway[openai]",
    "pipecat": "voice-gateway[pipecat]",
}
"""What brings the packages that modules of users import before a class could say what it `requires`."""


@dataclass(frozen=True, slots=True)
class GivenSettings:
    """What `[agent.settings]` holds, not yet validated; `variables` come from the environment and win.

    Relative paths among `values` are looked up in `directory`, those among `variables` in the current one. Both may
    hold API keys, and are left out of `repr`.
    """

    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    directory: Path = Path()


def installed_agents() -> tuple[str, ...]:
    """Return the names of the agents that installed packages offer, sorted."""
    return tuple(sorted({each.name for each in entry_points(group=ENTRY_POINTS)}))


def load_agent(name: str, given: GivenSettings | None = None) -> Agent:
    """Return a new agent, to be opened. Raises `AgentError`, one sentence that names the agent or the setting.

    The module is imported here, and the packages that the agent `requires` are looked for.
    """
    kind = _agent_class(name)
    missing = [module for module in kind.requires if not _is_installed(module)]
    if missing:
        raise AgentError(f"the agent {name!r} needs {', '.join(missing)}{_remedy(kind.install)}")
    settings = _settings(name, kind.settings_model, given or GivenSettings())
    make = cast(Callable[..., Agent | CallAgent], kind)
    try:
        made = make() if settings is None else make(settings)
        agent = as_agent(made) if isinstance(made, CallAgent) else made
    except GatewayError:
        raise
    except Exception as error:
        raise AgentError(f"the agent {name!r} cannot be made: {_shown(error)}") from error
    if not agent.name:
        agent.name = kind.__name__ if ":" in name else name
    return agent


async def open_agent(agent: Agent) -> None:
    """Open an agent; what it raises is an `AgentError`, unless it says itself in one sentence what is missing."""
    try:
        await agent.open()
    except (GatewayError, VoiceLinkError):
        raise
    except Exception as error:
        raise AgentError(f"the agent {agent.name!r} cannot be opened: {_shown(error)}") from error


def _agent_class(name: str) -> type[Agent | CallAgent]:
    module_name, colon, class_name = name.partition(":")
    if not colon:
        entry = _entry_point(name)
        module_name, class_name = entry.module, entry.attr
    if not all(part.isidentifier() for part in (*module_name.split("."), *class_name.split("."))):
        raise AgentError(f"agent.name is an installed agent's name or package.module:Class, got {name!r}")
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise AgentError(
                f"the agent {name!r} is in the module {module_name}, which is not installed: "
                "install its package, or name its folder in PYTHONPATH"
            ) from error
        remedy = _remedy(_EXTRAS.get(error.name or "", ""))
        raise AgentError(
            f"the agent {name!r} needs the package {error.name}, which is not installed{remedy}"
        ) from error
    except Exception as error:
        raise AgentError(f"the agent {name!r} cannot be imported: {_shown(error)}") from error
    for part in class_name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise AgentError(f"the agent {name!r} is not there: the module {module_name} has no {class_name}")
    if not isinstance(found, type) or not issubclass(found, (Agent, CallAgent)):
        known = f"{Agent.__module__}.Agent or of {CallAgent.__module__.rpartition('.')[0]}.CallAgent"
        raise AgentError(f"the agent {name!r} must be a subclass of {known}")
    return found


def _entry_point(name: str) -> EntryPoint:
    found = entry_points(group=ENTRY_POINTS, name=name)
    targets = sorted({each.value for each in found})
    if not targets:
        known = ", ".join(installed_agents()) or "none"
        raise AgentError(f"there is no agent {name!r}; installed are {known}; others are named package.module:Class")
    if len(targets) > 1:
        raise AgentError(f"there are several agents {name!r}; name one of {', '.join(targets)}")
    return next(iter(found))


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


def _settings(name: str, model: type[BaseModel] | None, given: GivenSettings) -> BaseModel | None:
    fields = {} if model is None else model.model_fields
    is_open = model is not None and model.model_config.get("extra") == "allow"
    known = sorted({field.alias or key for key, field in fields.items()})
    for key in (*given.values, *given.variables):
        if not is_open and key not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise AgentError(f"{_SETTINGS}.{key}: the agent {name!r} has no such setting; {has}")
    if model is None:
        return None
    paths = {field.alias or key for key, field in fields.items() if field.annotation in (Path, Path | None)}
    values = {
        key: given.directory / value if key in paths and isinstance(value, str) else value
        for key, value in given.values.items()
    }
    try:
        return model.model_validate({**values, **given.variables})
    except ValidationError as error:
        raise AgentError("\n".join(f"{_SETTINGS}.{line}" for line in describe_faults(error))) from None
    except Exception as error:  # a validator of the agent's own may raise anything
        raise AgentError(f"{_SETTINGS}: {_shown(error)}") from error


def _remedy(install: str) -> str:
    return f": pip install '{install}'" if install else ""


def _shown(error: Exception) -> str:
    """The error on one line; its kind too, for those whose text alone says little."""
    return " ".join(f"{type(error).__name__}: {error}".split())
