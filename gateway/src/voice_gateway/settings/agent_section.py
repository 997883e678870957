"""`[agent]`: which agent answers, and the settings that it alone understands."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from voice_gateway.agent.loading import GivenSettings
from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.fields import Section

_RENAMED: Final = ("menu",)
"""Keys that stood in `[agent]` and belong to `[agent.settings]`; deprecated."""
_SECRET: Final = re.compile(r"(^|_)(key|password|secret|token)$")


def _given(value: object) -> object:
    return GivenSettings(value) if isinstance(value, Mapping) else value


class AgentSection(Section):
    """`[agent]`: who answers, and its own settings.

    `name` (default `order`) is that of an agent which an installed package offers by an entry point of the group
    `voice_gateway.agents`, or `package.module:Class`. `[agent.settings]` is the agent's: its documentation says what
    there is, and keys that it does not know are refused.
    """

    name: str = Field(default="order", min_length=1)
    settings: Annotated[GivenSettings, BeforeValidator(_given)] = GivenSettings()

    @property
    def holds_secrets(self) -> bool:
        """Whether a setting has a name that secrets have, such as `api_key`."""
        return any(_SECRET.search(key) for key in self.settings.values)


def collect_agent_settings(
    document: dict[str, Any], environ: MutableMapping[str, str], prefix: str, file: Path
) -> None:
    """Bring `[agent.settings]` of a document and its variables together, and take those out of `environ`.

    Raises `ConfigurationError` for a setting that is given by its former name, too.
    """
    section = document.setdefault("agent", {})
    if not isinstance(section, dict):
        return
    values = section.get("settings", {})
    names = {f"{prefix}AGENT_SETTINGS_": "", **{f"{prefix}AGENT_{key.upper()}": key for key in _RENAMED}}
    variables: dict[str, str] = {}
    for start, key in names.items():
        for variable in [each for each in environ if (each == start if key else each.startswith(start))]:
            variables.setdefault(key or variable.removeprefix(start).lower(), environ.pop(variable))
    if not isinstance(values, dict):
        return
    for key in _RENAMED:
        if key in section and key in values:
            raise ConfigurationError(
                f"{file}: agent.{key} is the former name of agent.settings.{key}: give the latter alone"
            )
        if key in section:
            values = {**values, key: section.pop(key)}
    section["settings"] = GivenSettings(values, variables, file.parent)
