"""`[agent]`: which agent answers, and the settings that it alone understands."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from voice_gateway.agent.loading import GivenSettings
from voice_gateway.errors import ConfigurationError
from voice_gateway.hosts.addresses import parse_host_address, worker_credentials
from voice_gateway.hosts.worker.agent import HostedAgentOptions
from voice_gateway.settings.fields import List, Section, read_text

_RENAMED: Final = ("menu",)
"""Keys that stood in `[agent]` and belong to `[agent.settings]`; deprecated."""
_SECRET: Final = re.compile(r"(^|_)(key|password|secret|token)$")


def _given(value: object) -> object:
    return GivenSettings(value) if isinstance(value, Mapping) else value


def _hosts(value: object) -> object:
    return {"addresses": value} if isinstance(value, str | list | tuple) else value


class AgentHostsSection(Section):
    """`[agent.hosts]`: the agent is in other processes, which this worker dials (`gateway/docs/hosts.md`).

    `addresses` are of the form `unix:PATH` or `tcp:HOST:PORT`. Beyond this machine a `token_file` is required, and TLS
    is used, with the CAs in `ca_file` or the system's. A call that finds no host for `patience_s` (default 15, at most
    120) ends, after the WAV file `apology`, whose words are `apology_text`. Calls leave a host whose event loop is
    blocked for `move_after_s` (default 10). The worker starts once a host answers, and not without one for
    `start_timeout_s` (default 15).
    """

    addresses: List = Field(min_length=1)
    token_file: Path | None = None
    ca_file: Path | None = None
    patience_s: float = Field(default=15.0, ge=0.1, le=120.0)
    move_after_s: float = Field(default=10.0, ge=1.0, le=3_600.0)
    start_timeout_s: float = Field(default=15.0, ge=0.1, le=600.0)
    apology: Path | None = None
    apology_text: str = "Sorry, something went wrong. Please call again."


class AgentSection(Section):
    """`[agent]`: who answers, and its own settings.

    `name` (default `order`) is that of an agent which an installed package offers by an entry point of the group
    `voice_gateway.agents`, or `package.module:Class`. `[agent.settings]` is the agent's: its documentation says what
    there is, and keys that it does not know are refused. With `hosts`, a list of addresses or a table, the agent is in
    agent hosts, which load it and have its settings; `name` is then theirs.
    """

    name: str = Field(default="order", min_length=1)
    settings: Annotated[GivenSettings, BeforeValidator(_given)] = GivenSettings()
    hosts: Annotated[AgentHostsSection | None, BeforeValidator(_hosts)] = None

    def hosted(self) -> HostedAgentOptions | None:
        """Return where the agent is, `None` where it is in this process; raises `ConfigurationError`."""
        hosts = self.hosts
        if hosts is None:
            return None
        if self.settings.values or self.settings.variables:
            raise ConfigurationError("agent.settings are the agent's: where agent.hosts is set, give them to the hosts")
        token = None if hosts.token_file is None else read_text("agent.hosts.token_file", hosts.token_file)
        if token == "":
            raise ConfigurationError("agent.hosts.token_file: the file is empty")
        directory = self.settings.directory
        addresses = [parse_host_address(text, directory) for text in hosts.addresses]
        doubled = {str(each) for each in addresses if addresses.count(each) > 1}
        if doubled:
            raise ConfigurationError(f"agent.hosts.addresses: each address stands once, got {', '.join(doubled)} again")
        return HostedAgentOptions(
            tuple((each, worker_credentials(each, token, hosts.ca_file)) for each in addresses),
            patience_s=hosts.patience_s,
            move_after_s=hosts.move_after_s,
            start_timeout_s=hosts.start_timeout_s,
            apology=hosts.apology,
            apology_text=hosts.apology_text,
        )

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
    hosts = section.get("hosts")
    for key in ("token_file", "ca_file", "apology"):
        if isinstance(hosts, dict) and isinstance(hosts.get(key), str):
            hosts[key] = file.parent / hosts[key]
