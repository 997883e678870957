"""A worker's settings: defaults, then the TOML file, then `VOICE_GATEWAY_*` variables, then command-line flags."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import SecretStr, ValidationError, model_validator

from quiclb import QuicLbConfig
from quiclb.errors import ConfigError, QuicLbError
from quiclb.settings.documents import read_text
from quiclb.settings.loader import describe_faults
from quiclb.settings.sections import ConfigEntry
from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.access_sections import AccessSection, LimitsSection
from voice_gateway.settings.agent_section import AgentSection, collect_agent_settings
from voice_gateway.settings.fields import Section, holds_secret
from voice_gateway.settings.listener_sections import AdminSection, PageSection, TelephonySection, WebSocketSection
from voice_gateway.settings.recording_section import RecordingSection, WebhooksSection
from voice_gateway.settings.worker_sections import (
    QuicSection,
    SessionSection,
    TlsSection,
    UpSection,
    WorkerSection,
    former_names,
    renamed,
)

ENVIRONMENT_PREFIX: Final = "VOICE_GATEWAY_"
OPTIONAL_SECTIONS: Final = ("admin", "telephony", "websocket", "page")
"""They are there if one of their settings is given."""


def load_settings(
    path: Path | None, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> GatewaySettings:
    """Read, merge and check; raises `ConfigurationError` that names each key at fault.

    `environ` may hold `VOICE_GATEWAY_ACCESS_TOKEN` for the key `token` of `[access]`, and so on, and
    `VOICE_GATEWAY_AGENT_SETTINGS_MENU` for `menu` of `[agent.settings]`; lists are separated by commas. `flags` has the
    same keys as `access.token`; `None` means not given. Relative paths in the file are looked up beside it, those of
    variables and flags in the current directory. Without a `path` there is no file.
    """
    return check_document(merged_document(path, environ, flags), path)


def merged_document(
    path: Path | None, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what `load_settings` checks, with a table for each section; raises `ConfigurationError`."""
    document = {} if path is None else _read_toml(path)
    place = path or Path("settings")
    environ = dict(environ or {})
    collect_agent_settings(document, environ, ENVIRONMENT_PREFIX, place)
    for name, section in SECTIONS.items():
        given = document.setdefault(name, {})
        if isinstance(given, dict):
            given = document[name] = _checked_names(place, name, given)
            _resolve_paths(section, given, place.parent)
            given |= renamed(name, _variables(name, section, environ))
            given |= _flags(name, flags or {})
    return document


def check_document(document: Mapping[str, Any], path: Path | None) -> GatewaySettings:
    """Return the settings of a merged document; raises `ConfigurationError` with a line for each fault."""
    given = {key: value for key, value in document.items() if key not in OPTIONAL_SECTIONS or value != {}}
    prefix = "" if path is None else f"{path}: "
    try:
        return GatewaySettings.model_validate(given, context={"directory": (path or Path("settings")).parent})
    except ValidationError as error:
        raise ConfigurationError("\n".join(f"{prefix}{line}" for line in describe_faults(error))) from None
    except (QuicLbError, ConfigurationError) as error:
        raise ConfigurationError("\n".join(f"{prefix}{line}" for line in str(error).splitlines())) from None


class GatewaySettings(Section):
    """The whole file."""

    worker: WorkerSection
    up: UpSection = UpSection()
    tls: TlsSection
    config: tuple[ConfigEntry, ...] = ()
    quic: QuicSection = QuicSection()
    agent: AgentSection = AgentSection()
    access: AccessSection = AccessSection()
    limits: LimitsSection = LimitsSection()
    session: SessionSection = SessionSection()
    admin: AdminSection | None = None
    telephony: TelephonySection | None = None
    websocket: WebSocketSection | None = None
    page: PageSection | None = None
    recording: RecordingSection = RecordingSection()
    webhooks: WebhooksSection = WebhooksSection()

    @property
    def has_routable_cids(self) -> bool:
        """Whether connection IDs name this worker: yes, where there is a `[[config]]` and nothing else was said."""
        return bool(self.config) if self.quic.routable_cids is None else self.quic.routable_cids

    @property
    def may_unroutable_clients_migrate(self) -> bool:
        """Whether clients with unroutable connection IDs may: yes, where no load balancer can lose them."""
        allowed = self.quic.unroutable_clients_may_migrate
        return self.worker.inner is None if allowed is None else allowed

    @property
    def server_id(self) -> bytes | None:
        """This worker's server ID in the config it issues connection IDs by; `None` where these name no worker."""
        if not self.has_routable_cids:
            return None
        worker = self.worker
        return worker.server_id if worker.ordinal is None else self.issuing_config().ordinal_server_id(worker.ordinal)

    def issuing_config(self) -> QuicLbConfig:
        """Return the `[[config]]` that connection IDs are issued by; raises `ConfigurationError`."""
        ids = [entry.id for entry in self.config]
        wanted = ids[0] if self.quic.config_id is None and len(ids) == 1 else self.quic.config_id
        entry = next((entry for entry in self.config if entry.id == wanted), None)
        if entry is None:
            there_are = ", ".join(map(str, ids)) or "none"
            raise ConfigurationError(f"quic.config_id: must be the id of a [[config]]; there are: {there_are}")
        return entry.build()

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        """Find all faults of several sections, and of the files that they name, at once."""
        readers: list[Callable[[], object]] = [
            self._check_server_id,
            self._check_page,
            self.quic.read_secrets,
            self.quic.read_reset_key,
            self.access.read_token,
            self.access.read_keys,
            self.session.read_store_keys,
            self.agent.hosted,
            self.webhooks.read_webhook_secret,
        ]
        if self.admin is not None:
            readers.append(self.admin.read_token)
        if self.telephony is not None:
            readers += [self.telephony.read_auth_token, self.telephony.read_shared_key]
        faults = []
        for reader in readers:
            try:
                reader()
            except (QuicLbError, ConfigurationError) as fault:
                faults.append(str(fault))
        if faults:
            raise ConfigurationError("\n".join(faults))
        return self

    def _check_server_id(self) -> None:
        if not self.has_routable_cids:
            return
        if not self.config:
            raise ConfigurationError("quic.routable_cids needs a [[config]]")
        layout = self.issuing_config()
        try:
            server_id = self.server_id
        except ConfigError as error:
            raise ConfigurationError(f"worker.ordinal: {error}") from None
        if server_id is None:
            raise ConfigurationError(
                f"worker.server_id is required, {layout.server_id_length} bytes for config {layout.config_id}"
            )
        if len(server_id) != layout.server_id_length:
            expected = f"config {layout.config_id} expects {layout.server_id_length}"
            raise ConfigurationError(f"worker.server_id is {len(server_id)} bytes, {expected}")

    def _check_page(self) -> None:
        if self.page is not None and self.page.voice_url is None and self.worker.listen is None:
            raise ConfigurationError("page.voice_url is required where worker.listen is not given")


SECTIONS: Final[Mapping[str, type[Section]]] = {
    "worker": WorkerSection,
    "up": UpSection,
    "tls": TlsSection,
    "quic": QuicSection,
    "agent": AgentSection,
    "access": AccessSection,
    "limits": LimitsSection,
    "session": SessionSection,
    "admin": AdminSection,
    "telephony": TelephonySection,
    "websocket": WebSocketSection,
    "page": PageSection,
    "recording": RecordingSection,
    "webhooks": WebhooksSection,
}


def secret_files(settings: GatewaySettings, path: Path | None) -> list[Path]:
    """Return the files that hold secrets, `path` among them where keys, tokens or passwords stand in it itself."""
    secrets = {key.id for key in settings.access.read_keys() if key.algorithm == "HS256"}
    telephony = settings.telephony
    files = [
        settings.tls.key,
        settings.quic.retry_key_file,
        settings.quic.ticket_key_file,
        settings.quic.reset_key_file,
        settings.agent.hosts.token_file if settings.agent.hosts is not None else None,
        settings.access.token_file,
        settings.admin.token_file if settings.admin is not None else None,
        settings.access.secret_file,
        settings.session.store_key_file,
        settings.webhooks.secret_file,
        *(file for file in settings.access.key_files if file.stem in secrets),
        telephony.auth_token_file if telephony is not None else None,
        telephony.shared_key_file if telephony is not None else None,
        *(entry.key_file for entry in settings.config),
        path if path is not None and (settings.agent.holds_secrets or secrets_given(path)) else None,
    ]
    return [file for file in files if file is not None]


def secrets_given(path: Path) -> list[str]:
    """Return the keys whose values, secrets, stand in the settings file itself."""
    document = _read_toml(path)
    found = []
    for name, section in SECTIONS.items():
        given = document.get(name)
        names = [key for key, field in section.model_fields.items() if field.annotation == SecretStr | None]
        found += [f"{name}.{key}" for key in names if isinstance(given, dict) and key in given]
    found += [f"config[{number}].key" for number, entry in enumerate(document.get("config", ())) if "key" in entry]
    found += ["session.store"] * ("@" in document.get("session", {}).get("store", ""))  # a password
    recording, webhooks = document.get("recording", {}), document.get("webhooks", {})
    found += ["recording.storage"] * holds_secret(str(recording.get("storage", "")))
    urls = webhooks.get("urls", ())
    urls = urls.split(",") if isinstance(urls, str) else urls
    found += ["webhooks.urls"] * any(holds_secret(str(url)) for url in urls)
    return found


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path))
    except ConfigError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigurationError(f"{path}: not valid TOML: {reason}") from None


def _resolve_paths(section: type[Section], given: dict[str, Any], directory: Path) -> None:
    for name, field in section.model_fields.items():
        if field.annotation in (Path, Path | None) and isinstance(given.get(name), str):
            given[name] = directory / given[name]
        elif field.annotation == tuple[Path, ...] and isinstance(given.get(name), list):
            given[name] = [directory / each if isinstance(each, str) else each for each in given[name]]


def _checked_names(path: Path, name: str, values: dict[str, Any]) -> dict[str, Any]:
    try:
        return renamed(name, values)
    except ValueError as error:
        raise ConfigurationError(f"{path}: {name}: {error}") from None


def _variables(name: str, section: type[Section], environ: Mapping[str, str]) -> dict[str, str]:
    prefix = f"{ENVIRONMENT_PREFIX}{name.upper()}_"
    found = {variable: variable.removeprefix(prefix).lower() for variable in environ if variable.startswith(prefix)}
    for variable, key in found.items():
        if key not in section.model_fields and key not in former_names(name):
            raise ConfigurationError(f"{variable}: [{name}] has no key {key}")
    return {key: environ[variable] for variable, key in found.items()}


def _flags(name: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"{name}."
    return {
        key.removeprefix(prefix): value for key, value in flags.items() if key.startswith(prefix) and value is not None
    }
