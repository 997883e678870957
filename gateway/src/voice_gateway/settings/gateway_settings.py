"""A worker's settings: defaults, then the TOML file, then `VOICE_GATEWAY_*` variables, then command-line flags."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator

from quiclb import QuicLbConfig
from quiclb.errors import ConfigError, QuicLbError
from quiclb.net.address import Address, Kind, format_address, ip_facts, parse_address
from quiclb.net.backend_addresses import overlap
from quiclb.settings.documents import read_text
from quiclb.settings.fields import HexBytes, HostNames, HostPort
from quiclb.settings.loader import describe_faults
from quiclb.settings.sections import ConfigEntry
from voice_gateway.endpoint.sealing import SECRET_BYTES
from voice_gateway.endpoint.settings import SharedSecrets
from voice_gateway.endpoint.sockets.client_paths import TrustedProxies
from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.access_sections import AccessSection, LimitsSection
from voice_gateway.settings.agent_section import AgentSection, collect_agent_settings
from voice_gateway.settings.fields import (
    List,
    Section,
    check_url_authority,
    read_bytes,
    read_bytes_of_each,
    read_full_secret,
    read_secret,
)
from voice_gateway.settings.recording_section import RecordingSection, WebhooksSection
from voice_gateway.telephony.loading import check_vendor_name
from voicelink.audio.codecs.opus import ANSWERS
from voicelink.quic import PreferredAddress

ENVIRONMENT_PREFIX = "VOICE_GATEWAY_"


_FORMER_NAMES: Final = {"worker": {"forwarders": "trusted_proxies"}}
"""Deprecated spellings of keys, by section, and what replaced them."""


def load_settings(
    path: Path, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> GatewaySettings:
    """Read, merge and check; raises `ConfigurationError` that names the key at fault.

    `environ` may hold `VOICE_GATEWAY_ACCESS_TOKEN` for the key `token` of `[access]`, and so on, and
    `VOICE_GATEWAY_AGENT_SETTINGS_MENU` for `menu` of `[agent.settings]`; lists are separated by commas. `flags` has the
    same keys as `access.token`; `None` means not given. Relative paths in the file are looked up beside it, those of
    variables and flags in the current directory.
    """
    document = _read_toml(path)
    environ = dict(environ or {})
    collect_agent_settings(document, environ, ENVIRONMENT_PREFIX, path)
    for name, section in _SECTIONS.items():
        given = document.setdefault(name, {})
        if isinstance(given, dict):
            given = document[name] = _checked_names(path, name, given)
            _resolve_paths(section, given, path.parent)
            given |= _renamed(name, _variables(name, section, environ))
            given |= _flags(name, flags or {})
    for optional in ("admin", "telephony", "websocket", "page"):
        if document[optional] == {}:
            del document[optional]
    try:
        return GatewaySettings.model_validate(document, context={"directory": path.parent})
    except ValidationError as error:
        raise ConfigurationError("\n".join(f"{path}: {line}" for line in describe_faults(error))) from None
    except (QuicLbError, ConfigurationError) as error:
        raise ConfigurationError(f"{path}: {error}") from None


class WorkerSection(Section):
    """`[worker]`: who this worker is and where its datagrams arrive.

    `listen` takes clients that come straight here, `inner` what the load balancers named in `trusted_proxies` pass on.
    A load balancer is named by its inner IP address, or by IP:port where others on its host are not to be trusted;
    its health probes, which come from another port, are answered in both cases. `server_id` is this worker's in the
    `[[config]]` table it issues connection IDs by. `preferred` is where clients that came through a load balancer find
    `listen`: an IPv4 address, an IPv6 address or one of each, with the port. Those that obey (RFC 9000 section 9.6) go
    on there, past the load balancer.
    """

    name: str = Field(default="worker", min_length=1, max_length=64)
    server_id: HexBytes | None = None
    listen: HostPort | None = None
    inner: HostPort | None = None
    trusted_proxies: List = ()
    preferred: List = ()

    @model_validator(mode="before")
    @classmethod
    def _take_former_names(cls, values: Any) -> Any:
        return _renamed("worker", values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _check_sockets(self) -> Self:
        if self.listen is None and self.inner is None:
            raise ValueError("give listen, inner or both")
        if self.inner is not None and not self.trusted_proxies:
            raise ValueError("inner requires trusted_proxies, the load balancers whose SPP headers name the client")
        if self.preferred and (self.listen is None or self.inner is None):
            raise ValueError("preferred leads clients of inner to listen: give both")
        for key, address in (("listen", self.listen), ("inner", self.inner)):
            if address is not None and (kind := ip_facts(address[0]).kind) in (Kind.MULTICAST, Kind.BROADCAST):
                raise ValueError(f"{key} must be an address of this machine, {address[0]} is a {kind} address")
        if self.listen is not None and self.inner is not None and overlap(self.listen, self.inner):
            both = f"listen {format_address(self.listen)} and inner {format_address(self.inner)}"
            raise ValueError(f"{both} overlap: give one of them another port")
        try:
            TrustedProxies(self.trusted_proxies)
        except ConfigurationError as error:
            raise ValueError(f"trusted_proxies: {error}") from None
        self.preferred_address()
        return self

    def preferred_address(self) -> PreferredAddress | None:
        """Return the transport parameter for clients; raises `ValueError`."""
        found: dict[int, Address] = {}
        for text in self.preferred:
            try:
                host, port = parse_address(text)
                version = ipaddress.ip_address(host).version
            except ValueError:
                raise ValueError(f"preferred is IP:port, got {text!r}") from None
            if version in found or not port or ip_facts(host).kind in _NOT_PREFERRED:
                raise ValueError(f"preferred is at most one IPv4 and one IPv6 host with a port, got {text!r}")
            found[version] = host, port
        return PreferredAddress(found.get(4), found.get(6)) if found else None


class TlsSection(Section):
    """`[tls]`: PEM files; the certificate's chain may follow it in its file."""

    certificate: Path
    key: Path


class QuicSection(Section):
    """`[quic]`: keys in hexadecimal, 16 to 64 bytes, the same at all workers; without one each worker draws its own.

    `reset_key` makes stateless resets, `retry_key` the tokens that prove a client's address, `ticket_key` the tickets
    that resume a TLS session. Of the last two there may be several, separated by spaces or lines: the first one seals,
    all of them open. Replace a key by adding the new one behind the old at every worker, then moving it to the front,
    then removing the old one a day later; a reload takes these two.

    Without `routable_cids` a load balancer sends a client that changed its address to any worker; such clients are
    asked not to, unless `unroutable_clients_may_migrate`. `config_id` chooses among several `[[config]]` tables.
    `resets_for_lost_servers` (default true, where `reset_key` is set) lets clients of a dead worker know at once;
    false is for load balancers in `trusted_proxies` that do not route by connection ID.

    From `retry_after_half_open` unfinished handshakes on (default 64, 0 for always), a new client must prove its
    address by a Retry. `max_half_open` (default 160, at least 1) is how many there may be, each of about 100 kB: with
    all places taken, a newcomer takes that of the oldest one of the network (IPv4 address, IPv6 /64) that holds most. A
    handshake may take `handshake_timeout_s` (default 10 s), and at most `loaded_handshake_timeout_s` (default 3 s)
    while more than half of the places are taken; raise these where clients sit behind slow satellite links.

    A connection on which nothing arrives for `idle_timeout_s` (default 30 s, at most a day) is forgotten.

    `qlog_folder`, an existing folder (default none), gets a qlog of each connection, of at most 16 at once, for the
    debugging of single calls: it costs CPU and up to 20 MB for each. It holds addresses and connection IDs, and neither
    payload nor tokens. Beyond `qlog_max_bytes` (default 256 MiB, at least 1 MiB) the oldest ones are deleted. Of the
    connections the share `qlog_sample` gets one (default 1, above 0): set it where a busy worker's calls are to be
    compared. The admin interface records one that is up.
    """

    routable_cids: bool | None = None
    unroutable_clients_may_migrate: bool | None = None
    config_id: int | None = None
    retry_key: SecretStr | None = None
    retry_key_file: Path | None = None
    ticket_key: SecretStr | None = None
    ticket_key_file: Path | None = None
    reset_key: SecretStr | None = None
    reset_key_file: Path | None = None
    resets_for_lost_servers: bool = True
    retry_after_half_open: int = Field(default=64, ge=0)
    max_half_open: int = Field(default=160, ge=1)
    max_connections: int = Field(default=4096, ge=1)
    handshake_timeout_s: float = Field(default=10.0, gt=0)
    loaded_handshake_timeout_s: float = Field(default=3.0, gt=0)
    idle_timeout_s: float = Field(default=30.0, gt=0, le=86_400)
    qlog_folder: Path | None = None
    qlog_max_bytes: int = Field(default=256 << 20, ge=1 << 20)
    qlog_sample: float = Field(default=1.0, gt=0, le=1)

    def read_secrets(self) -> SharedSecrets:
        """Return what tokens and tickets are sealed with, from files if need be; raises `ConfigurationError`."""
        return SharedSecrets(
            retry=read_bytes_of_each("quic.retry_key", self.retry_key, self.retry_key_file, SECRET_BYTES),
            ticket=read_bytes_of_each("quic.ticket_key", self.ticket_key, self.ticket_key_file, SECRET_BYTES),
        )

    def read_reset_key(self) -> bytes | None:
        """Return the key, from its file if need be; raises `ConfigurationError`."""
        return read_bytes("quic.reset_key", self.reset_key, self.reset_key_file, SECRET_BYTES)


class SessionSection(Section):
    """`[session]`: where sessions are saved, how many there may be, and how long they wait for others.

    `store` is `memory://` (one worker, lost with it), `sqlite:///PATH` (all workers of a host) or `redis://HOST:PORT/0`,
    `rediss://`, `redis+sentinel://HOST,HOST/NAME`, `redis+cluster://HOST,HOST` (any number of hosts). A session that
    has no connection is kept for `resume_window_s` at its worker, and for `record_ttl_s` since its last change in the
    store. `drain_timeout_s` is how long a worker that stops waits for its callers to go on elsewhere,
    and `finish_timeout_s` how long an agent may be silent after the caller's `bye`. Speech is sent
    `downlink_target_s` ahead of playback (more bridges longer outages, and wastes more on an interruption), and
    never more than `downlink_cap_s` beyond what the caller has reported as played. Answers in Opus are encoded at
    `opus_complexity`, 0 to 10 (default 1): a higher one takes more of the worker's time for a slightly better sound.

    `store_key` seals the records in SQLite and Redis (AES-256-GCM): hexadecimal, 16 to 64 bytes, the same at all
    workers. There may be several, separated by spaces or lines: the first one seals, all of them open. Default: none,
    transcripts are stored in clear. Give it wherever others can read the file, the server or their backups. Replace a
    key by adding the new one behind the old at every worker, then moving it to the front, then removing the old one
    `record_ttl_s` later; a reload takes it. A record that no key opens counts as absent.
    """

    store: str = Field(default="memory://", repr=False)
    store_key: SecretStr | None = None
    store_key_file: Path | None = None
    max_sessions: int = Field(default=500, ge=1)
    start_timeout_s: float = Field(default=10.0, gt=0)
    idle_timeout_s: float = Field(default=30.0, gt=0)
    finish_timeout_s: float = Field(default=30.0, gt=0)
    resume_window_s: float = Field(default=60.0, ge=0)
    record_ttl_s: float = Field(default=900.0, gt=0)
    drain_timeout_s: float = Field(default=30.0, ge=0)
    downlink_target_s: float = Field(default=20.0, ge=0.5)
    downlink_cap_s: float = Field(default=30.0, ge=1.0)
    opus_complexity: int = Field(default=ANSWERS.complexity, ge=0, le=10)

    def read_store_keys(self) -> tuple[bytes, ...]:
        """Return the keys that seal records, from their file if need be; raises `ConfigurationError`."""
        return read_bytes_of_each("session.store_key", self.store_key, self.store_key_file, SECRET_BYTES)

    @model_validator(mode="after")
    def _check_lead(self) -> Self:
        if self.downlink_cap_s < self.downlink_target_s:
            raise ValueError(
                f"downlink_cap_s is {self.downlink_cap_s:g}, less than downlink_target_s {self.downlink_target_s:g}"
            )
        return self


class AdminSection(Section):
    """`[admin]`: where metrics, health and sessions are served; keep it where only operators reach it.

    `listen` is 127.0.0.1:9090 unless given. With `token` or `token_file`, of at least 16 characters, operators who send
    it may watch and steer sessions, drain the worker, change its log level and record qlogs (gateway/docs/admin.md);
    without one these operations are off. The token is read again when its file changes. `tls` (default false) serves
    all of it by the certificate of `[tls]`; set it where the token crosses a network. `show_words` (default false) adds
    what is said to the events that operators watch.

    It answers requests whose `Host` is an IP address, `localhost`, this machine's host name, or a name in `hosts`
    (default none; `*.example.com` is every name below), and 421 to others, so that no web page reads it by DNS
    rebinding. Set `hosts` where Prometheus or a probe uses another name, such as that of a Kubernetes Service.
    """

    listen: HostPort = ("127.0.0.1", 9090)
    hosts: HostNames = ()
    token: SecretStr | None = None
    token_file: Path | None = None
    tls: bool = False
    show_words: bool = False

    def read_token(self) -> str | None:
        """Return the token, from its file if need be; raises `ConfigurationError`."""
        token = read_secret("admin.token", self.token, self.token_file)
        if token is not None and len(token) < _LEAST_TOKEN_CHARACTERS:
            raise ConfigurationError(f"admin.token: must have at least {_LEAST_TOKEN_CHARACTERS} characters")
        return token


class TelephonySection(Section):
    """`[telephony]`: where Twilio reaches this worker: `/twiml` for webhooks, `/v1/twilio` for Media Streams.

    With `auth_token` of the Twilio account (`shared_key` for signatures by SHA-256) only Twilio gets in. Both require
    `public_url`, the address Twilio calls, as `https://gateway.example.com`: signatures cover it, and the `Host` of a
    request is chosen by its sender. All workers that take the calls of one number have the same secrets, and
    share the session store. `tls` false leaves TLS, else made with the files of `[tls]`, to a proxy: Twilio speaks
    nothing else. `vendor` is a name of the entry point group `voice_gateway.telephony`; others than `twilio` have paths
    of their own.
    """

    listen: HostPort
    vendor: Annotated[str, AfterValidator(check_vendor_name)] = "twilio"
    public_url: str | None = None
    auth_token: SecretStr | None = None
    auth_token_file: Path | None = None
    shared_key: SecretStr | None = None
    shared_key_file: Path | None = None
    tls: bool = True

    @field_validator("public_url")
    @classmethod
    def _check_form(cls, url: str | None) -> str | None:
        if url is None or re.fullmatch(r"https?://[^/?#]+", url):
            return url if url is None else check_url_authority(url)
        raise ValueError(f"must be scheme and host without a path, such as https://gateway.example.com, got {url!r}")

    @model_validator(mode="after")
    def _check_public_url(self) -> Self:
        secrets = ("auth_token", "auth_token_file", "shared_key", "shared_key_file")
        given = [name for name in secrets if getattr(self, name) is not None]
        if given and self.public_url is None:
            raise ValueError(
                f"telephony.{given[0]} requires telephony.public_url, the address that Twilio calls and signs, "
                "such as https://gateway.example.com"
            )
        return self

    def read_auth_token(self) -> str | None:
        """Return the token, from its file if need be; raises `ConfigurationError`."""
        return read_full_secret("telephony.auth_token", self.auth_token, self.auth_token_file)

    def read_shared_key(self) -> str | None:
        """Return the key, from its file if need be; raises `ConfigurationError`."""
        return read_full_secret("telephony.shared_key", self.shared_key, self.shared_key_file)


class WebSocketSection(Section):
    """`[websocket]`: where the voice protocol is spoken over TCP, for callers without UDP; TLS as in `[telephony]`."""

    listen: HostPort
    tls: bool = True


class PageSection(Section):
    """`[page]`: where browsers get the page that calls this gateway; the same port takes its WebSockets.

    The page calls `voice_url`; without it, the port of `worker.listen` on the host it came from. Workers of one host
    may listen on one port, each with `shared_port`. `tls` false leaves TLS to a proxy: browsers give the microphone to
    pages of https and of loopback addresses only. For a loopback address `development` gives the page what it
    cannot know: the access token, the certificate's hash, and `demo_url`, where its buttons break things; it then
    answers only requests whose `Host` is a loopback address or `localhost`.
    """

    listen: HostPort
    tls: bool = True
    shared_port: bool = False
    voice_url: str | None = None
    development: bool = False
    demo_url: str | None = Field(default=None, pattern=r"^http://[^/?#\s;,]+$")

    @field_validator("voice_url")
    @classmethod
    def _check_form(cls, url: str | None) -> str | None:
        if url is None or re.fullmatch(r"https://[^/?#\s;,]+/[^?#\s;,]*", url):
            return url if url is None else check_url_authority(url)
        raise ValueError(f"must be https, a host and a path, such as https://gateway.example.com/v1/voice, got {url!r}")

    @model_validator(mode="after")
    def _check_development(self) -> Self:
        if self.demo_url is not None and not self.development:
            raise ValueError("demo_url is for development")
        if self.development and not ipaddress.ip_address(self.listen[0]).is_loopback:
            raise ValueError("development gives the access token away: listen must be a loopback address")
        return self


class GatewaySettings(Section):
    """The whole file."""

    worker: WorkerSection
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
    def _check_server_id(self) -> Self:
        if not self.has_routable_cids:
            return self
        if not self.config:
            raise ValueError("quic.routable_cids needs a [[config]]")
        layout = self.issuing_config()
        server_id = self.worker.server_id
        if server_id is None:
            raise ValueError(
                f"worker.server_id is required, {layout.server_id_length} bytes for config {layout.config_id}"
            )
        if len(server_id) != layout.server_id_length:
            expected = f"config {layout.config_id} expects {layout.server_id_length}"
            raise ValueError(f"worker.server_id is {len(server_id)} bytes, {expected}")
        return self

    @model_validator(mode="after")
    def _check_page(self) -> Self:
        if self.page is not None and self.page.voice_url is None and self.worker.listen is None:
            raise ValueError("page.voice_url is required where worker.listen is not given")
        return self

    @model_validator(mode="after")
    def _check_secrets(self) -> Self:
        self.quic.read_secrets()
        self.quic.read_reset_key()
        self.access.read_token()
        self.access.read_keys()
        self.session.read_store_keys()
        self.agent.hosted()
        if self.admin is not None:
            self.admin.read_token()
        self.webhooks.read_webhook_secret()
        if self.telephony is not None:
            self.telephony.read_auth_token()
            self.telephony.read_shared_key()
        return self


_LEAST_TOKEN_CHARACTERS: Final = 16
_NOT_PREFERRED = {Kind.MULTICAST, Kind.BROADCAST, Kind.UNSPECIFIED}

_SECTIONS: Mapping[str, type[Section]] = {
    "worker": WorkerSection,
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


def secret_files(settings: GatewaySettings, path: Path) -> list[Path]:
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
        path if settings.agent.holds_secrets or _holds_secrets(_read_toml(path)) else None,
    ]
    return [file for file in files if file is not None]


def _holds_secrets(document: Mapping[str, Any]) -> bool:
    for name, section in _SECTIONS.items():
        given = document.get(name)
        names = {key for key, field in section.model_fields.items() if field.annotation == SecretStr | None}
        if isinstance(given, dict) and names & given.keys():
            return True
    if any("key" in entry for entry in document.get("config", ())):
        return True
    return "@" in document.get("session", {}).get("store", "")  # a password


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
        return _renamed(name, values)
    except ValueError as error:
        raise ConfigurationError(f"{path}: {name}: {error}") from None


def _renamed(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Replace the deprecated spelling of each key of a section; raises `ValueError` where both are given."""
    for former, present in _FORMER_NAMES.get(name, {}).items():
        if former in values and present in values:
            raise ValueError(f"{former} is the former name of {present}: give {present} alone")
    return {_FORMER_NAMES.get(name, {}).get(key, key): value for key, value in values.items()}


def _variables(name: str, section: type[Section], environ: Mapping[str, str]) -> dict[str, str]:
    prefix = f"{ENVIRONMENT_PREFIX}{name.upper()}_"
    found = {variable: variable.removeprefix(prefix).lower() for variable in environ if variable.startswith(prefix)}
    for variable, key in found.items():
        if key not in section.model_fields and key not in _FORMER_NAMES.get(name, {}):
            raise ConfigurationError(f"{variable}: [{name}] has no key {key}")
    return {key: environ[variable] for variable, key in found.items()}


def _flags(name: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"{name}."
    return {
        key.removeprefix(prefix): value for key, value in flags.items() if key.startswith(prefix) and value is not None
    }
