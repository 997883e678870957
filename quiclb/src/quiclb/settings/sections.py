"""The sections of the load balancer's TOML file: every setting with its default, its range and when to change it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator

from quiclb.backends.discovery import ServerIdPattern
from quiclb.backends.health import HealthPolicy
from quiclb.codec.config import KEY_LENGTH, QuicLbConfig
from quiclb.datapath.linux.libc import IS_SUPPORTED
from quiclb.datapath.loading import check_datapath_name
from quiclb.errors import ConfigError
from quiclb.net.address import Address, Kind, format_address, ip_facts, parse_host
from quiclb.net.backend_addresses import overlap
from quiclb.routing.pool import Backend, BackendState
from quiclb.routing.table import UnknownServerId
from quiclb.settings.documents import read_text
from quiclb.settings.fields import ConfigIds, HostName, HostNames, HostPort, Name, Section, ServerIds

ORDINAL: Final = "{ordinal}"


class ForwarderSection(Section):
    """`[forwarder]`: the two sockets and the choices the draft leaves open.

    `unknown_server_id` and `check_cid_length` change with a reload, all else with a restart.
    """

    listen: HostPort
    """The VIP that clients send to, such as `192.0.2.1:443`; required. Behind ECMP give every load balancer the same.
    `0.0.0.0` takes all IPv4 addresses of the machine, `[::]` those of both families; port 0 takes a free port."""

    inner: HostPort
    """Where backends send replies; required. An address that backends can reach and untrusted sources cannot."""

    metrics: HostPort | None = None
    """Serves Prometheus text at `/metrics`; default none. Keep it off public addresses: it names the backends."""

    metrics_hosts: HostNames = ()
    """Names by which the metrics may be asked for, besides IP addresses, `localhost` and this machine's host name;
    default none. `*.example.com` is every name below. Others get 421, so that no web page reads them by DNS rebinding.
    Set it where Prometheus scrapes by another name."""

    unknown_server_id: UnknownServerId = UnknownServerId.FALLBACK
    """What becomes of a datagram whose server ID no backend has: `fallback` (default) places it by its 4-tuple, as the
    draft does; `drop` saves backends the noise where all server IDs are known to every load balancer at all times."""

    check_cid_length: bool = False
    """Treats connection IDs whose encoded length cannot be right as unroutable; default false. Set it only if every
    server encodes the length: then fewer of the clients' random connection IDs reach a backend by accident."""

    allow_loopback_clients: bool = False
    """Serves clients on 127.0.0.0/8 and ::1; default false. For tests and demonstrations on one machine only."""

    datapath: Annotated[str, AfterValidator(check_datapath_name)] = "vectorised" if IS_SUPPORTED else "asyncio"
    """How datagrams are moved: `vectorised` (default on Linux; batches in a thread of their own), `asyncio` (one at a
    time, anywhere), or another installed datapath: a name of the entry point group `quiclb.datapaths`."""

    processes: int = Field(default=1, ge=1, le=64)
    """How many processes forward, 1 to 64; default 1. More take more cores: give it the cores that one process fills,
    not those of the machine. With more than one, a supervisor holds the sockets and a spare process waits."""

    orphan_grace_s: float = Field(default=30.0, ge=0, le=3600)
    """How long forwarding processes go on after the death of their supervisor, in seconds, 0 to 3600; default 30.
    Longer than the service manager takes to start another."""

    @field_validator("listen", "inner", "metrics")
    @classmethod
    def _check_address(cls, value: Address | None) -> Address | None:
        if value is not None and (kind := ip_facts(value[0]).kind) in (Kind.MULTICAST, Kind.BROADCAST):
            raise ConfigError(f"must be an address of this machine, {value[0]} is a {kind} address")
        return value

    @model_validator(mode="after")
    def _check_sockets(self) -> ForwarderSection:
        if overlap(self.listen, self.inner):
            both = f"listen {format_address(self.listen)} and inner {format_address(self.inner)}"
            raise ConfigError(f"{both} overlap: give one of them another port")
        return self


class ConfigEntry(Section):
    """One `[[config]]`, the same for load balancers and servers; up to seven, each with its own `id`.

    To rotate, add the new config and the backends' server IDs in it here first, then let servers issue under it, and
    remove the old one when its last connection is gone. Without `key` and `key_file` the config is plaintext.
    """

    id: int = Field(json_schema_extra={"minimum": 0, "maximum": 6})
    """The codepoint in the first three bits, 0 to 6; required. Do not reuse one while connections under it live."""

    server_id_length: int = Field(json_schema_extra={"minimum": 1, "maximum": 15})
    """Bytes of the server ID, 1 to 15; required. 4 is plenty, and leaves most random connection IDs unroutable."""

    nonce_length: int = Field(json_schema_extra={"minimum": 4, "maximum": 18})
    """Bytes of the nonce, 4 to 18, at most 19 with the server ID; required. With a key, 16 bytes together cost one
    AES block, any other sum three or four; a longer nonce lasts longer before the key must be replaced."""

    key: SecretStr | None = None
    """The AES-128 key, 32 hexadecimal digits; default none. Prefer `key_file`: this file is read by more people."""

    key_file: Path | None = None
    """A file with the key, looked up beside this one; default none. Replacing it takes effect like a reload."""

    first_byte_encodes_cid_length: bool = True
    """What servers do with the five low bits: true (default) encodes the length, false fills them with noise. Hardware
    that parses QUIC without state needs true."""

    def build(self) -> QuicLbConfig:
        """Read the key file if there is one and return the config; raises `ConfigError`."""
        return QuicLbConfig(
            config_id=self.id,
            server_id_length=self.server_id_length,
            nonce_length=self.nonce_length,
            key=self._read_key(),
            first_byte_encodes_cid_length=self.first_byte_encodes_cid_length,
        )

    def _read_key(self) -> bytes | None:
        if self.key_file is None:
            return None if self.key is None else parse_key(self.key.get_secret_value())
        if len(self.key_file.name) == 2 * KEY_LENGTH and not self.key_file.exists():
            raise ConfigError("key_file must be the name of a file; a key itself is given as key")
        try:
            return parse_key(read_text(self.key_file).strip())
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
        return value if value is None else beside(value, info)

    @model_validator(mode="after")
    def _check_layout(self) -> ConfigEntry:
        if self.key is not None and self.key_file is not None:
            raise ConfigError("give key or key_file, not both")
        self.build()
        return self


class BackendEntry(Section):
    """One `[[backend]]`, here or in a discovery file."""

    name: Name
    """What logs and metrics call it, 1 to 128 printable characters; required, unique. The fallback hashes it, so all
    load balancers need the same names, and a renamed backend is a new one to the fallback."""

    address: HostPort
    """Where it takes datagrams with an SPP header; required, unique. The unicast address and port of one host, not this
    load balancer's own, and of a family that `inner` can send to. Its path must carry clients' first datagrams: packets
    of 1,266 bytes by IPv4, 1,286 by IPv6."""

    state: BackendState = BackendState.ACTIVE
    """`active` (default); `draining`: keeps its connection IDs and gets no new connections, set it before maintenance;
    `down`: nothing is sent to it, even if it answers health probes."""

    server_ids: Annotated[dict[int, ServerIds], ConfigIds] = Field(default_factory=dict)
    """Config ID to hexadecimal server ID, or a list of them; default none: it then gets fallback traffic only."""

    def build(self) -> Backend:
        return Backend(self.name, self.address, self.state, self.server_ids)


class HealthSection(Section):
    """`[health]`: probes that need nothing special of a backend.

    A backend must answer an SPP-wrapped QUIC packet of a reserved version with Version Negotiation. Probes come from
    the inner IP address and a port of their own, so backends must take SPP headers from any port of that IP
    address. A backend that is down loses its connections to the fallback; it has them again with its first answer, and
    gets new ones once it is up. While no active backend is up, health is ignored and every backend is used as the file
    says (fail open).
    """

    enabled: bool = True
    """Default true. Set false for backends that do not answer unknown versions (RFC 9000 section 6.1 says SHOULD)."""

    interval_s: float = Field(default=2.0, ge=0.1, le=3600)
    """Seconds between probes of one backend, 0.1 to 3600, default 2, each with a jitter of a fifth. Raise it for pools
    of thousands: each probe is 1,238 bytes."""

    timeout_s: float = Field(default=1.0, ge=0.05, le=60)
    """Seconds until a probe counts as missed, 0.05 to 60, default 1; also the pause between probes while a change is
    being confirmed. Raise it where backends are far away."""

    fall: int = Field(default=3, ge=1, le=100)
    """Probes missed in a row until a backend is down, 1 to 100, default 3. Raise it on lossy inner networks."""

    rise: int = Field(default=2, ge=1, le=100)
    """Probes answered in a row until a backend that was down is up, 1 to 100, default 2. Raise it if backends flap."""

    def build(self) -> HealthPolicy:
        return HealthPolicy(self.interval_s, self.timeout_s, self.fall, self.rise)


class DnsDiscovery(Section):
    """`[[discovery]]` with `kind = "dns"`: one backend for each address of a host name, named after the address.

    Made for headless services: all load balancers that resolve the name agree on backends and server IDs. A failed
    lookup leaves the last answer in place. An address that leaves the answer drains for `linger_s`.
    """

    kind: Literal["dns"]

    host: HostName
    """The name, such as `workers.default.svc.cluster.local`; required. Labels of 1 to 63 bytes, 253 in all; IDNA."""

    port: int = Field(ge=1, le=65535)
    """The port of every backend, 1 to 65535; required."""

    interval_s: float = Field(default=5.0, ge=0.5, le=3600)
    """Seconds between lookups, 0.5 to 3600, default 5. Raise it where the resolver is shared and the pool is calm."""

    linger_s: float = Field(default=300.0, ge=0, le=86400)
    """Seconds that a backend keeps its connections after its address left the answer, 0 to 86400, default 300. Use the
    grace period in which a terminating backend still serves."""

    server_ids: Annotated[dict[int, str], ConfigIds] = Field(default_factory=dict)
    """Config ID to a pattern: hexadecimal digits with `{address:N}` for the last N bytes of the address (IPv4 with
    zeros in front) and `{port}` for two bytes of the port. Default: `{address:N}` in every config, N being its server
    ID length. Configure the backends alike, and give plaintext configs patterns of their own where others have keys."""

    @field_validator("server_ids")
    @classmethod
    def _check_patterns(cls, value: dict[int, str]) -> dict[int, str]:
        for pattern in value.values():
            ServerIdPattern.parse(pattern)
        return value


class OrdinalDiscovery(Section):
    """`[[discovery]]` with `kind = "ordinals"`: servers that have numbered names, such as those of a StatefulSet.

    One backend for each number below `count` whose name resolves, named after it; its server ID in every config is the
    number, big endian, and stays the same when the server comes back at another address. Each name should have one
    address, of the family of `inner`; of several the first one, as text, counts. A name that no longer exists drains
    for `linger_s`; if none exists or the resolver fails, the last answer stays in place.
    """

    kind: Literal["ordinals"]

    host: str
    """The names, with `{ordinal}` for the number, such as `worker-{ordinal}.workers.default.svc.cluster.local`;
    required. Otherwise as for `dns`."""

    count: int = Field(ge=1, le=1000)
    """How many numbers to ask for, from 0 on, 1 to 1000; required. The most servers that there will be: each is a
    lookup every `interval_s`."""

    port: int = Field(ge=1, le=65535)
    """The port of every backend, 1 to 65535; required."""

    interval_s: float = Field(default=5.0, ge=0.5, le=3600)
    """Seconds between lookups, 0.5 to 3600, default 5. Raise it where the resolver is shared and the pool is calm."""

    linger_s: float = Field(default=300.0, ge=0, le=86400)
    """Seconds that a backend keeps its connections after its name is gone, 0 to 86400, default 300. Use the grace
    period in which a terminating server still serves."""

    def host_of(self, ordinal: int) -> str:
        """Return the name of one server."""
        return self.host.replace(ORDINAL, str(ordinal))

    @model_validator(mode="after")
    def _check_host(self) -> OrdinalDiscovery:
        if ORDINAL not in self.host:
            raise ConfigError(f"host: must hold {ORDINAL} where the number stands, got {self.host!r}")
        try:
            parse_host(self.host_of(self.count - 1))
        except ConfigError as error:
            raise ConfigError(f"host: {error}") from None
        return self


class FileDiscovery(Section):
    """`[[discovery]]` with `kind = "file"`: `[[backend]]` entries in a file that other software writes.

    The file is read again when it changes. While it is missing or bad the last good content stays in place.
    """

    kind: Literal["file"]

    path: Path
    """A TOML file, or a JSON file if the name ends in `.json`, looked up beside this one; required. Replace it by
    renaming a complete file over it."""

    linger_s: float = Field(default=0.0, ge=0, le=86400)
    """Seconds that a backend drains after its entry is gone, 0 to 86400, default 0: write `state = "draining"` first,
    or set this if the writer cannot."""

    @field_validator("path")
    @classmethod
    def _resolve_path(cls, value: Path, info: ValidationInfo) -> Path:
        return beside(value, info)


DiscoveryEntry = Annotated[DnsDiscovery | OrdinalDiscovery | FileDiscovery, Field(discriminator="kind")]


def beside(path: Path, info: ValidationInfo) -> Path:
    """A relative path is one beside the settings file."""
    directory = (info.context or {}).get("directory")
    return path if directory is None else directory / path


def parse_key(text: str) -> bytes:
    """Read a key; the error says nothing of the value."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_LENGTH:
        raise ConfigError("key must be 32 hexadecimal digits (16 bytes)")
    return key
