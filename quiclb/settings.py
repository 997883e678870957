"""The forwarder's settings: defaults, then the TOML file, then `QUICLB_*` variables, then command-line flags."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from quiclb.address import Address, parse_address
from quiclb.config import KEY_LENGTH, QuicLbConfig
from quiclb.datapath.libc import IS_SUPPORTED
from quiclb.errors import ConfigError
from quiclb.pool import Backend, BackendState
from quiclb.table import RoutingTable, UnknownServerId, build_table

ENVIRONMENT_PREFIX = "QUICLB_"


def load_settings(
    path: Path, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> Settings:
    """Read, merge and check; raises `ConfigError` with one line for each fault, each naming its key.

    `environ`, usually `os.environ`, may hold `QUICLB_LISTEN` and so on for every key of `[forwarder]`. `flags` has the
    same keys in lower case, `None` meaning not given. A relative `key_file` is looked up beside the TOML file.
    """
    document = _read_toml(path)
    forwarder = document.get("forwarder", {})
    if isinstance(forwarder, dict):
        names = ForwarderSection.model_fields
        environ = environ or {}
        variables = {
            name: environ[variable] for name in names if (variable := ENVIRONMENT_PREFIX + name.upper()) in environ
        }
        given = {name: value for name, value in (flags or {}).items() if value is not None}
        document["forwarder"] = forwarder | variables | given
    try:
        settings = Settings.model_validate(document, context={"directory": path.parent})
        settings.build_table()
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in describe_faults(error))) from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return settings


def describe_faults(error: ValidationError) -> list[str]:
    """One line a fault, as `config[0].key: must be 32 hexadecimal digits`, without the values given."""
    return [f"{_key_path(fault['loc'])}: {_message(fault)}" for fault in error.errors(include_url=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _to_address(value: object) -> object:
    return parse_address(value) if isinstance(value, str) else value


def _to_octets(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise ValueError(f"must be hexadecimal digits, two for each octet, got {value!r}") from None


HostPort = Annotated[Address, BeforeValidator(_to_address)]
HexOctets = Annotated[bytes, BeforeValidator(_to_octets)]


class DatapathKind(StrEnum):
    """How datagrams are moved."""

    VECTORISED = "vectorised"
    """Batches in a thread of their own; Linux only."""
    ASYNCIO = "asyncio"
    """One at a time on the event loop; anywhere."""


class ForwarderSection(_Section):
    """`[forwarder]`: the two sockets and the choices the draft leaves open.

    `listen` is the VIP that clients send to; behind ECMP give every forwarder the same. `inner` is where backends
    send replies, an address they can reach and strangers cannot. `metrics` serves Prometheus text at `/metrics`.
    `datapath` is vectorised where the system can do that.
    """

    listen: HostPort
    inner: HostPort
    metrics: HostPort | None = None
    unknown_server_id: UnknownServerId = UnknownServerId.FALLBACK
    check_cid_length: bool = False
    allow_loopback_clients: bool = False
    datapath: DatapathKind = DatapathKind.VECTORISED if IS_SUPPORTED else DatapathKind.ASYNCIO


class ConfigEntry(_Section):
    """One `[[config]]`, the same for load balancers and servers. Without `key` and `key_file` it is plaintext."""

    id: int
    server_id_length: int
    nonce_length: int
    key: SecretStr | None = None
    key_file: Path | None = None
    first_octet_encodes_cid_length: bool = True

    def build(self) -> QuicLbConfig:
        """Read the key file if there is one and return the config; raises `ConfigError`."""
        return QuicLbConfig(
            config_id=self.id,
            server_id_length=self.server_id_length,
            nonce_length=self.nonce_length,
            key=self._read_key(),
            first_octet_encodes_cid_length=self.first_octet_encodes_cid_length,
        )

    def _read_key(self) -> bytes | None:
        if self.key_file is None:
            return None if self.key is None else parse_key(self.key.get_secret_value())
        try:
            text = self.key_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = str(error.strerror).lower() if isinstance(error, OSError) else "not hexadecimal text"
            raise ConfigError(f"key_file {self.key_file}: {reason}") from None
        try:
            return parse_key(text)
        except ConfigError as error:
            raise ConfigError(f"key_file {self.key_file}: {error}") from None

    @field_validator("key")
    @classmethod
    def _check_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_key(value.get_secret_value())
        return value

    @field_validator("key_file")
    @classmethod
    def _resolve_key_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        directory = (info.context or {}).get("directory")
        return directory / value if value is not None and directory is not None else value

    @model_validator(mode="after")
    def _check_layout(self) -> ConfigEntry:
        if self.key is not None and self.key_file is not None:
            raise ConfigError("give key or key_file, not both")
        self.build()
        return self


def parse_key(text: str) -> bytes:
    """Read a key; the error says nothing of the value."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_LENGTH:
        raise ConfigError("key must be 32 hexadecimal digits (16 octets)")
    return key


class BackendEntry(_Section):
    """One `[[backend]]`: `server_ids` maps config IDs to hexadecimal server IDs."""

    name: str = Field(min_length=1)
    address: HostPort
    state: BackendState = BackendState.ACTIVE
    server_ids: dict[int, HexOctets] = Field(default_factory=dict)

    @field_validator("address")
    @classmethod
    def _check_port(cls, value: Address) -> Address:
        if value[1] == 0:
            raise ConfigError("port must be 1 to 65535, got 0")
        return value

    def build(self) -> Backend:
        return Backend(self.name, self.address, self.state, self.server_ids)


class Settings(_Section):
    """The whole file."""

    forwarder: ForwarderSection
    config: list[ConfigEntry] = Field(default_factory=list)
    backend: list[BackendEntry] = Field(min_length=1)

    def build_table(self) -> RoutingTable:
        """Return the routing table; raises `ConfigError` where configs and backends do not fit."""
        return build_table(
            [entry.build() for entry in self.config],
            [entry.build() for entry in self.backend],
            unknown_server_id=self.forwarder.unknown_server_id,
            check_cid_length=self.forwarder.check_cid_length,
        )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _key_path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]":
            path += f".{part}" if path else part
    return path or "settings"


def _message(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "unknown key"
    if fault["type"] == "missing":
        return "is required"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
