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
from voice_gateway.settings.fields import List, Section, TextOrList, read_text

_RENAMED: Final = ("menu",)
"""Keys that stood in `[agent]` and belong to `[agent.settings]`; deprecated."""
_SECRET: Final = re.compile(r"(^|_)(key|password|secret|token)$")


def _given(value: object) -> object:
    return GivenSettings(value) if isinstance(value, Mapping) else value


def _hosts(value: object) -> object:
    return {"addresses": value} if isinstance(value, str | list | tuple) else value


class AgentHostsSection(Section):
    """`[agent.hosts]`: the agent is in other processes, which this worker dials (`gateway/docs/hosts.md`)."""

    addresses: List = Field(min_length=1)
    """The agent hosts, each as `unix:PATH` or `tcp:HOST:PORT`. The worker starts once one of them answers."""

    token_file: Path | None = None
    """The file with the token that proves this worker to the hosts; required beyond this machine, where TLS is used."""

    ca_file: Path | None = None
    """The CAs that hosts' certificates are checked with; default the system's."""

    patience_s: float = Field(default=15.0, ge=0.1, le=120.0)
    """How long a call waits for a host; it ends after that. Raise it to the time in which your hosts are restarted."""

    move_after_s: float = Field(default=10.0, ge=1.0, le=3_600.0)
    """Calls leave a host whose event loop is blocked for so long. Lower it where agents never block."""

    start_timeout_s: float = Field(default=15.0, ge=0.1, le=600.0)
    """How long the worker waits for the first host when it starts. Raise it where hosts load large models."""

    apology: Path | None = None
    """A WAV file that the caller of a call without a host hears; default none."""

    apology_text: str = "Sorry, something went wrong. Please call again."
    """Its words, for the transcript."""


class AgentSection(Section):
    """`[agent]`: who answers, and its own settings."""

    name: str = Field(default="order", min_length=1)
    """An agent that an installed package offers by an entry point of the group `voice_gateway.agents`, or
    `package.module:Class`. The default takes drink orders, offline, and needs the extra `agent`."""

    settings: Annotated[GivenSettings, BeforeValidator(_given, json_schema_input_type=dict[str, Any])] = GivenSettings()
    """`[agent.settings]` is the agent's: its page says what there is, and keys that it does not know are refused."""

    hosts: Annotated[
        AgentHostsSection | None, BeforeValidator(_hosts, json_schema_input_type=AgentHostsSection | TextOrList)
    ] = None
    """With a list of addresses, or the table `[agent.hosts]`, the agent is in agent hosts, which load it and have its
    settings; `name` is then theirs. For agents that block the event loop or are deployed more often than workers."""

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
