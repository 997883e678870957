"""The load balancer's settings: defaults, then the TOML file, then `QUICLB_*` variables, then command-line flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from quiclb.backends.discovery import ServerIdPattern, join
from quiclb.errors import ConfigError
from quiclb.net.backend_addresses import BackendAddresses
from quiclb.net.kernel.routes import is_local_ip
from quiclb.routing.pool import Backend
from quiclb.routing.table import RoutingTable
from quiclb.routing.table_spec import TableSpec
from quiclb.settings.documents import read_document
from quiclb.settings.fields import Section
from quiclb.settings.sections import (
    BackendEntry,
    ConfigEntry,
    DiscoveryEntry,
    DnsDiscovery,
    FileDiscovery,
    ForwarderSection,
    HealthSection,
    OrdinalDiscovery,
)

ENVIRONMENT_PREFIX = "QUICLB_"


def load_settings(
    path: Path, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> Settings:
    """Read, merge and check; raises `ConfigError` with one line for each fault, each naming its key.

    `environ`, usually `os.environ`, may hold `QUICLB_LISTEN` and so on for every key of `[forwarder]`. `flags` has the
    same keys in lower case, `None` meaning not given. Relative file names are looked up beside the TOML file.
    """
    document = read_document(path)
    section = document.get("forwarder", {})
    variables: dict[str, str] = {}
    if isinstance(section, dict):
        names = ForwarderSection.model_fields
        environ = environ or {}
        variables = {
            name: environ[variable] for name in names if (variable := ENVIRONMENT_PREFIX + name.upper()) in environ
        }
        given = {name: value for name, value in (flags or {}).items() if value is not None}
        document["forwarder"] = section | variables | given
        variables = {name: value for name, value in variables.items() if name not in given}
    try:
        settings = Settings.model_validate(document, context={"directory": path.parent})
        settings.table_spec().check()
    except ValidationError as error:
        lines = [_say_variable(line, variables) or f"{path}: {line}" for line in describe_faults(error)]
        raise ConfigError("\n".join(lines)) from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return settings


def load_backends(path: Path) -> tuple[Backend, ...]:
    """Read the `[[backend]]` entries of a discovery file, TOML or JSON; raises `ConfigError` like `load_settings`."""
    try:
        entries = _BackendsDocument.model_validate(read_document(path)).backend
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in describe_faults(error))) from None
    return tuple(entry.build() for entry in entries)


def describe_faults(error: ValidationError) -> list[str]:
    """One line a fault, as `config[0].key: must be 32 hexadecimal digits`, without the values given."""
    return [_key_path(fault["loc"]) + _message(fault) for fault in error.errors(include_url=False)]


class Settings(Section):
    """A checked TOML file."""

    forwarder: ForwarderSection
    config: list[ConfigEntry] = Field(default_factory=list)
    backend: list[BackendEntry] = Field(default_factory=list)
    discovery: list[DiscoveryEntry] = Field(default_factory=list)
    health: HealthSection = HealthSection()

    def table_spec(self, found: Iterable[Backend] = (), version: int = 0) -> TableSpec:
        """Return what the file and the `found` backends say, before health; reads key files, raises `ConfigError`."""
        configs = tuple(entry.build() for entry in self.config)
        backends, _ = join(configs, (entry.build() for entry in self.backend), found, self.backend_addresses().fault)
        return TableSpec(
            configs=configs,
            backends=backends,
            unknown_server_id=self.forwarder.unknown_server_id,
            check_cid_length=self.forwarder.check_cid_length,
            version=version,
        )

    def backend_addresses(self) -> BackendAddresses:
        """Return the rule that backends' addresses must keep."""
        return BackendAddresses(self.forwarder.listen, self.forwarder.inner, is_local_ip)

    def check_backend_addresses(self, rule: BackendAddresses) -> None:
        """Raise `ConfigError` where a listed backend breaks the rule; what is found is left out instead."""
        for index, entry in enumerate(self.backend):
            fault = rule.fault(entry.address)
            if fault is not None:
                raise ConfigError(f"backend[{index}].address: {fault}")

    def build_table(self) -> RoutingTable:
        """Return the routing table of what the file and its discovery files list now; raises `ConfigError`."""
        files = [entry.path for entry in self.discovery if isinstance(entry, FileDiscovery)]
        return self.table_spec([backend for path in files for backend in load_backends(path)]).build()

    @model_validator(mode="after")
    def _check_sources(self) -> Settings:
        if not self.backend and not self.discovery:
            raise ConfigError("backend: is required where there is no discovery")
        self.check_backend_addresses(self.backend_addresses())
        for index, layout in enumerate(self.config):
            if layout.id in [other.id for other in self.config[:index]]:
                raise ConfigError(f"config[{index}].id: config ID {layout.id} is given twice")
        places: dict[object, int] = {}
        for index, source in enumerate(self.discovery):
            place = source.path if isinstance(source, FileDiscovery) else (source.host, source.port)
            if place in places:
                raise ConfigError(f"discovery[{index}]: asks the same as discovery[{places[place]}]")
            places[place] = index
        lengths = {entry.id: entry.server_id_length for entry in self.config}
        for index, entry in enumerate(self.discovery):
            if isinstance(entry, OrdinalDiscovery):
                for layout in self.config:
                    try:
                        layout.build().ordinal_server_id(entry.count - 1)
                    except ConfigError as error:
                        raise ConfigError(f"discovery[{index}].count: {error}") from None
            for config_id, pattern in entry.server_ids.items() if isinstance(entry, DnsDiscovery) else ():
                key = f"discovery[{index}].server_ids.{config_id}"
                if config_id not in lengths:
                    raise ConfigError(f"{key}: config {config_id} does not exist")
                length = ServerIdPattern.parse(pattern).length_bytes
                if length != lengths[config_id]:
                    raise ConfigError(f"{key}: pattern gives {length} bytes, the config expects {lengths[config_id]}")
        return self


class _BackendsDocument(Section):
    backend: list[BackendEntry] = Field(default_factory=list)


def _say_variable(line: str, variables: Mapping[str, str]) -> str | None:
    """The line with a variable's name in place of a key of `[forwarder]` that came from the environment."""
    key, colon, rest = line.removeprefix("forwarder.").partition(":")
    return (
        f"{ENVIRONMENT_PREFIX}{key.upper()}{colon}{rest}"
        if line.startswith("forwarder.") and key in variables
        else None
    )


def _key_path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in ("[key]", "dns", "file", "ordinals"):
            path += f".{part}" if path else part
    return f"{path}: " if path else ""


def _message(fault: Any) -> str:
    kind, location = fault["type"], fault["loc"]
    if kind == "list_type" and len(location) == 1:
        return f"must be a list of tables, each written as [[{location[0]}]]"
    if kind in _MESSAGES:
        shown = {name: str(value).removesuffix(".0") for name, value in fault.get("ctx", {}).items()}
        return _MESSAGES[kind].format(**shown)
    for prefix, message in _MESSAGE_PREFIXES.items():
        if kind.startswith(prefix):
            return message
    message = str(fault["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


_MESSAGES = {
    "extra_forbidden": "unknown key",
    "missing": "is required",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "union_tag_not_found": "kind is required",
    "union_tag_invalid": "kind must be one of {expected_tags}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters long",
}
_MESSAGE_PREFIXES = {
    "model_": "must be a table",
    "dict_": "must be a table",
    "list_": "must be a list",
    "tuple_type": "must be a list",
    "string_type": "must be text in quotes",
    "path_type": "must be a file name in quotes",
    "int_": "must be a whole number",
    "float_": "must be a number",
    "finite_number": "must be a finite number",
    "bool_": "must be true or false",
}
"""Messages for pydantic's kinds of faults in the words of TOML; other kinds keep pydantic's message."""
