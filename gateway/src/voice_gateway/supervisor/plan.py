"""What the settings of one machine mean for each of its workers; what is not set gets a default that works here."""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from quiclb.errors import ConfigError
from quiclb.net.address import is_wildcard, parse_address
from quiclb.settings.loader import describe_faults
from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.fields import read_text
from voice_gateway.settings.gateway_settings import GatewaySettings, check_document, merged_document
from voice_gateway.settings.worker_sections import UpSection
from voice_gateway.supervisor.machine import Machine
from voice_gateway.supervisor.steering.program import SERVER_ID_BYTES, steering_layout
from voice_gateway.worker.preflight import Insistence, admit

DEFAULT_LISTEN: Final = "127.0.0.1:4433"
DEFAULT_PAGE: Final = "127.0.0.1:8080"
DEFAULT_ADMIN: Final = "127.0.0.1:9090"
_SHARED_KEYS: Final = ("retry_key", "ticket_key", "reset_key")
_SECRET_BYTES: Final = 32
_MAX_NAME: Final = 64
_LAST_PORT: Final = 65_535
_NOT_HERE: Final = {
    ("worker", "server_id"): "each worker gets one",
    ("worker", "ordinal"): "each worker gets one",
    ("worker", "inner"): "no load balancer stands in front; run `serve` for workers behind one",
    ("worker", "trusted_proxies"): "no load balancer stands in front; run `serve` for workers behind one",
    ("worker", "preferred"): "clients are at the workers' own address already",
    ("quic", "routable_cids"): "the kernel steers by connection IDs",
    ("quic", "config_id"): "connection IDs have a layout that the kernel can read",
}


@dataclass(frozen=True, slots=True)
class BoxPlan:
    """Where settings come from: an optional file, flags such as `worker.listen`, the environment of the process.

    `state` is a folder of this user's. One plan gives supervisor and workers the same settings, but for what each
    worker has of its own. `sessions` is how many each worker may have where the settings do not say.
    """

    config: Path | None
    flags: Mapping[str, Any] = field(repr=False)
    state: Path
    workers: int
    sessions: int
    insist: Insistence = field(default_factory=Insistence)

    def load(self, environ: Mapping[str, str]) -> GatewaySettings:
        """Return the settings that all workers have in common, for the supervisor; raises `GatewayError`.

        It makes the development certificate, if one is used, unless that is good for some days.
        """
        document = self._document(environ)
        document["worker"]["server_id"] = server_id(0).hex()
        settings = check_document(document, self.config)
        self._check_admin_ports(settings)
        self.renew_certificate(settings)
        return admit(settings, self.config, self.insist)

    def load_worker(self, environ: Mapping[str, str], slot: int) -> GatewaySettings:
        """Return those of the worker in a slot; raises `GatewayError`."""
        document = self._document(environ)
        worker = document["worker"]
        worker["name"] = worker_name(worker["name"], slot)
        worker["server_id"] = server_id(slot).hex()
        return admit(check_document(document, self.config), self.config, self.insist, is_logged=False)

    def renew_certificate(self, settings: GatewaySettings) -> None:
        """Make the development certificate, if one is used, unless it is good for some days; raises `GatewayError`."""
        listen = settings.worker.listen
        if settings.tls.certificate.parent == self._certificate_folder and listen is not None:
            hosts = () if is_wildcard(listen) else (listen[0],)
            ensure_certificate(self._certificate_folder, now=time.time(), hosts=hosts)

    def _check_admin_ports(self, settings: GatewaySettings) -> None:
        """Refuse a port that leaves too few behind it: each slot has one, and there is one slot more than workers."""
        most = _LAST_PORT - self.workers - 1
        if settings.admin is not None and settings.admin.listen[1] > most:
            raise ConfigurationError(
                f"admin.listen: the {self.workers} workers need {self.workers + 1} ports behind it: give a port up to "
                f"{most}, got {settings.admin.listen[1]}"
            )

    @property
    def _certificate_folder(self) -> Path:
        return self.state / "certificate"

    def _document(self, environ: Mapping[str, str]) -> dict[str, Any]:
        document = merged_document(self.config, environ, self.flags)
        for name in ("worker", "tls", "quic", "session", "admin", "page"):
            if not isinstance(document[name], dict):
                return document  # which the check of all settings refuses
        _refuse_what_is_not_here(document)
        self._add_defaults(document)
        if not {"certificate", "key"} & document["tls"].keys():
            folder = self._certificate_folder
            document["tls"] |= {"certificate": folder / "leaf.pem", "key": folder / "leaf.key"}
        return document

    def _add_defaults(self, document: dict[str, Any]) -> None:
        worker, session, quic = document["worker"], document["session"], document["quic"]
        worker.setdefault("name", "worker")
        worker.setdefault("listen", DEFAULT_LISTEN)
        session.setdefault("store", f"sqlite:///{str(self.state / 'sessions.db').replace('%', '%25')}")
        session.setdefault("max_sessions", self.sessions)
        if self.config is None:
            document["admin"].setdefault("listen", DEFAULT_ADMIN)
            page = document["page"]
            page.setdefault("listen", DEFAULT_PAGE)
            host = _host(page["listen"])
            if host is not None and ipaddress.ip_address(host).is_loopback:
                page.setdefault("development", True)
                page.setdefault("tls", False)
        quic.setdefault("plaintext_clients_may_migrate", True)
        for name in _SHARED_KEYS:
            if name not in quic and f"{name}_file" not in quic:
                quic[name] = hmac.digest(_shared_secret(self.state), name.encode(), "sha256").hex()
        layout = steering_layout()
        document["config"] = [
            {
                "id": layout.config_id,
                "server_id_length": layout.server_id_length,
                "nonce_length": layout.nonce_length,
                "first_byte_encodes_cid_length": layout.first_byte_encodes_cid_length,
            }
        ]


def make_plan(
    config: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, Any],
    machine: Machine,
    *,
    workers: int | None = None,
    state: Path | None = None,
    insist: Insistence | None = None,
) -> BoxPlan:
    """Return the plan for this machine, and make its folder; raises `GatewayError`.

    `workers` and `state` win over those of `[up]`.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    given |= {f"up.{key}": value for key, value in (("workers", workers), ("state", state)) if value is not None}
    document = merged_document(config, environ, given)
    try:
        section = UpSection.model_validate(document["up"])
    except ValidationError as error:
        raise ConfigurationError("\n".join(f"up.{line}" for line in describe_faults(error))) from None
    count = section.workers or machine.workers
    has_sessions = "max_sessions" in document["session"]
    folder = (section.state or default_state(environ)).absolute()
    _make_private(folder)
    given.pop("up.state", None)
    sessions = 1 if has_sessions else machine.sessions_of_each(count)
    return BoxPlan(config, given, folder, count, sessions, insist or Insistence())


def _host(address: object) -> str | None:
    """Return the IP address of IP:port, `None` for what the check of the settings refuses."""
    try:
        return parse_address(address)[0] if isinstance(address, str) else None
    except ConfigError:
        return None


def server_id(slot: int) -> bytes:
    """Return the server ID of the worker in a slot."""
    return (slot + 1).to_bytes(SERVER_ID_BYTES, "big")


def worker_name(name: str, slot: int) -> str:
    """Return what logs and the store call the worker in a slot."""
    number = f"-{slot + 1}"
    return name[: _MAX_NAME - len(number)] + number


def default_state(environ: Mapping[str, str]) -> Path:
    """Return the folder for what outlives the process; raises `ConfigurationError` where there is no home."""
    if environ.get("STATE_DIRECTORY"):
        return Path(environ["STATE_DIRECTORY"].partition(":")[0])
    if environ.get("XDG_STATE_HOME"):
        return Path(environ["XDG_STATE_HOME"], "voice-gateway")
    if environ.get("HOME"):
        return Path(environ["HOME"], ".local", "state", "voice-gateway")
    raise ConfigurationError("up.state: is required where neither $STATE_DIRECTORY nor $HOME is set")


def _refuse_what_is_not_here(document: Mapping[str, Any]) -> None:
    faults = [
        f"{section}.{key}: leave it out with `up`: {reason}"
        for (section, key), reason in _NOT_HERE.items()
        if key in document[section]
    ]
    if document.get("config"):
        faults.append(
            "config: leave [[config]] out with `up`: the kernel steers by connection IDs in clear, and cannot decrypt "
            "others; run quiclb in front of workers that you `serve` where connection IDs must be encrypted"
        )
    if str(document["session"].get("store", "")).startswith("memory:"):
        faults.append(
            "session.store: memory:// is lost with its worker; leave it out with `up` for a file that all workers "
            "share, or name sqlite:///PATH or redis://HOST:PORT/0"
        )
    if faults:
        raise ConfigurationError("\n".join(faults))


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(None, "permission denied")
    except OSError as error:
        raise ConfigurationError(f"up.state: {folder}: {(error.strerror or str(error)).lower()}") from None


def _shared_secret(folder: Path) -> bytes:
    """Return what the shared keys are made of, the same after a restart: clients keep their tickets and tokens."""
    file = folder / "secret"
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_hex(_SECRET_BYTES))
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigurationError(f"up.state: {file}: {(error.strerror or str(error)).lower()}") from None
    try:
        secret = bytes.fromhex(read_text(f"up.state: {file}", file))
    except ValueError:
        secret = b""
    if len(secret) != _SECRET_BYTES:
        raise ConfigurationError(
            f"up.state: {file}: must be {_SECRET_BYTES} bytes in hexadecimal; remove it for another"
        )
    return secret
