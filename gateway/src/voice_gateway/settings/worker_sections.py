"""The settings' sections on who a worker is, its connections, and its sessions."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, SecretStr, model_validator

from quiclb.net.address import Address, Kind, format_address, ip_facts, parse_address
from quiclb.net.backend_addresses import overlap
from quiclb.settings.fields import HostPort
from voice_gateway.endpoint.sealing import SECRET_BYTES
from voice_gateway.endpoint.settings import SharedSecrets
from voice_gateway.endpoint.sockets.client_paths import TrustedProxies
from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.fields import List, Section, ServerId, read_bytes, read_bytes_of_each, unit
from voicelink.audio.codecs.opus import ANSWERS
from voicelink.quic import PreferredAddress

MOST_WORKERS: Final = 64
"""Of one machine."""
_FORMER_NAMES: Final = {"worker": {"forwarders": "trusted_proxies"}}
"""Deprecated spellings of keys, by section, and what replaced them."""
_NOT_PREFERRED: Final = {Kind.MULTICAST, Kind.BROADCAST, Kind.UNSPECIFIED}


def former_names(section: str) -> Mapping[str, str]:
    """Return the deprecated keys of a section, and what replaced each."""
    return _FORMER_NAMES.get(section, {})


def renamed(section: str, values: dict[str, Any]) -> dict[str, Any]:
    """Replace the deprecated spelling of each key of a section; raises `ValueError` where both are given."""
    names = former_names(section)
    for former, present in names.items():
        if former in values and present in values:
            raise ValueError(f"{former} is the former name of {present}: give {present} alone")
    return {names.get(key, key): value for key, value in values.items()}


class WorkerSection(Section):
    """`[worker]`: who this worker is and where its datagrams arrive."""

    name: str = Field(default="worker", min_length=1, max_length=64)
    """What logs, metrics and the session store call this worker. Give each worker of a pool another one."""

    server_id: ServerId | None = None
    """This worker's server ID in the `[[config]]` by which it issues connection IDs, in hexadecimal, or in base64
    behind `base64:`; required with one, where `ordinal` is not given. It must be unique in the pool. `voice-gateway up`
    gives each of its workers one."""

    ordinal: int | None = Field(default=None, ge=0, json_schema_extra=unit(None))
    """The server ID by number: the number, big endian, in as many bytes as the `[[config]]` has. Set it in place of
    `server_id` where workers are numbered, as the pods of a StatefulSet; load balancers find them by `[[discovery]]` of
    the kind `ordinals`."""

    listen: HostPort | None = None
    """Where clients come directly, over UDP. `0.0.0.0` takes all IPv4 addresses of the machine, `[::]` those of both
    families. Give this, `inner`, or both."""

    inner: HostPort | None = None
    """Where load balancers pass datagrams on. An address that they can reach and clients cannot."""

    trusted_proxies: List = ()
    """The load balancers whose SPP headers name the client, each by its inner IP address, or by IP:port where others on
    its host are not to be trusted; required with `inner`. Health probes, which come from another port, are answered in
    both cases. A network, such as `10.4.0.0/14`, trusts all in it: for load balancers whose addresses change, where
    nothing else there can reach `inner`."""

    preferred: List = ()
    """Where clients that came through a load balancer find `listen`: an IPv4 address, an IPv6 address or one of each,
    with the port. Those that obey (RFC 9000 section 9.6) go on there, past the load balancer. Set it where workers have
    public addresses."""

    @model_validator(mode="before")
    @classmethod
    def _take_former_names(cls, values: Any) -> Any:
        return renamed("worker", values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _check_sockets(self) -> Self:
        if self.listen is None and self.inner is None:
            raise ValueError("give listen, inner or both")
        if self.inner is not None and not self.trusted_proxies:
            raise ValueError("inner requires trusted_proxies, the load balancers whose SPP headers name the client")
        if self.server_id is not None and self.ordinal is not None:
            raise ValueError("give server_id or ordinal, not both")
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


class UpSection(Section):
    """`[up]`: how `voice-gateway up` runs workers on one machine; `serve`, which is one worker, does not read it."""

    workers: int | None = Field(default=None, ge=1, le=MOST_WORKERS, json_schema_extra=unit("workers"))
    """How many workers run; default one for each core that this process may use, by CPU affinity and the container's
    quota. Run fewer where other programs need cores, or where memory is short."""

    state: Path | None = None
    """The folder for sessions, the development certificate and the secret that its workers share; default the service
    manager's `$STATE_DIRECTORY`, else `voice-gateway` in `$XDG_STATE_HOME` or `~/.local/state`. It must outlive the
    process, and be on a local disk."""


class TlsSection(Section):
    """`[tls]`: what the worker proves itself with. Both files are read again when they change."""

    certificate: Path
    """A PEM file; the certificate's chain may follow it in its file."""

    key: Path
    """The private key in PEM, without a password: P-256, P-384, Ed25519 or RSA of 2048 bits and more. Keep it from
    other users (mode 0600, or 0640 for the service's group)."""


class QuicSection(Section):
    """`[quic]`: connections, and the keys that all workers of a pool share; without one each worker draws its own.

    Keys are 16 to 64 bytes in hexadecimal. Of `retry_key` and `ticket_key` there may be several, separated by spaces or
    lines: the first one seals, all of them open. Replace a key by adding the new one behind the old at every worker,
    then moving it to the front, then removing the old one a day later; a reload takes these two.
    """

    routable_cids: bool | None = None
    """Whether connection IDs name this worker; default yes, where there is a `[[config]]`. Without, a load balancer
    sends a client that changed its address to any worker."""

    unroutable_clients_may_migrate: bool | None = None
    """Whether clients with unroutable connection IDs may change their address; default only without a load balancer
    (`worker.inner`), since one sends them to any worker. Set it for tests of that."""

    plaintext_clients_may_migrate: bool = False
    """Whether clients get spare connection IDs, which changing the address on purpose takes, also under a `[[config]]`
    without a key. An observer then sees which connection IDs belong to one worker (draft section 9), so that clients
    resume on a new connection by default. `voice-gateway up` sets it: the address of the only machine says nearly as
    much."""

    config_id: int | None = None
    """By which `[[config]]` connection IDs are issued; required where there are several. Changing it is step two of a
    rotation (`deploy/rotation`)."""

    retry_key: SecretStr | None = None
    """Seals the tokens that prove a client's address. Share it, so that any worker takes the tokens of the others."""

    retry_key_file: Path | None = None
    """The file with `retry_key`."""

    ticket_key: SecretStr | None = None
    """Seals the tickets that resume a TLS session. Share it, so that any worker resumes the sessions of the others."""

    ticket_key_file: Path | None = None
    """The file with `ticket_key`."""

    reset_key: SecretStr | None = None
    """Makes stateless resets. Share it, so that any worker can tell a client that its own worker is gone."""

    reset_key_file: Path | None = None
    """The file with `reset_key`."""

    resets_for_lost_servers: bool = True
    """Whether clients of a dead worker learn so at once from another one, where `reset_key` is set. Set false for load
    balancers in `trusted_proxies` that do not route by connection ID."""

    retry_after_half_open: int = Field(default=64, ge=0, json_schema_extra=unit("handshakes"))
    """From so many unfinished handshakes on, a new client must prove its address by a Retry, which costs it a round
    trip. 0 asks for it always: for networks that are attacked often."""

    max_half_open: int = Field(default=160, ge=1, json_schema_extra=unit("handshakes"))
    """How many unfinished handshakes there may be, each of about 100 kB. With all places taken, a newcomer takes that
    of the oldest one of the network (IPv4 address, IPv6 /64) that holds most. Raise it for bursts of new callers."""

    max_connections: int = Field(default=4096, ge=1, json_schema_extra=unit("connections"))
    """How many connections there may be, those without a session included. Keep it some times
    `session.max_sessions`."""

    handshake_timeout_s: float = Field(default=10.0, gt=0)
    """How long a handshake may take. Raise it where clients sit behind slow satellite links."""

    loaded_handshake_timeout_s: float = Field(default=3.0, gt=0)
    """How long a handshake may take while more than half of `max_half_open` places are taken. Raise it likewise."""

    idle_timeout_s: float = Field(default=30.0, gt=0, le=86_400)
    """A connection on which nothing arrives for so long is forgotten. Raise it for networks that go dark for longer:
    its client need not resume then."""

    qlog_folder: Path | None = None
    """An existing folder that gets a qlog of each connection, of at most 16 at once. For the debugging of single calls:
    it costs CPU and up to 20 MB for each. It holds addresses and connection IDs, and neither payload nor tokens."""

    qlog_max_bytes: int = Field(default=256 << 20, ge=1 << 20)
    """Beyond so much in `qlog_folder` the oldest qlogs are deleted."""

    qlog_sample: float = Field(default=1.0, gt=0, le=1, json_schema_extra=unit("share of connections"))
    """How many of the connections get one, of 1. Set it where a busy worker's calls are to be compared; the admin
    interface records one that is up."""

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
    """`[session]`: where sessions are saved, how many there may be, and how long they wait for others."""

    store: str = Field(default="memory://", repr=False)
    """Where sessions are saved: `memory://` (one worker, lost with it), `sqlite:///PATH` (all workers of a host, the
    default of `voice-gateway up`), or for any number of hosts `redis://HOST:PORT/0`, `rediss://`,
    `redis+sentinel://HOST,HOST/NAME`, `redis+cluster://HOST,HOST`. An address with a password belongs in the variable
    `VOICE_GATEWAY_SESSION_STORE`."""

    store_key: SecretStr | None = None
    """Seals the records in SQLite and Redis (AES-256-GCM): 16 to 64 bytes in hexadecimal, the same at all workers;
    default none, transcripts are stored in clear. There may be several, separated by spaces or lines: the first one
    seals, all of them open. Give it wherever others can read the file, the server or their backups. Replace a key by
    adding the new one behind the old at every worker, then moving it to the front, then removing the old one
    `record_ttl_s` later; a reload takes it. A record that no key opens counts as absent."""

    store_key_file: Path | None = None
    """The file with `store_key`."""

    max_sessions: int = Field(default=500, ge=1, json_schema_extra=unit("sessions"))
    """How many sessions this worker has at a time; further ones are refused. Set it to what a core carries with your
    agent (`deploy/sizing.md`). `voice-gateway up` takes less by default where memory or descriptors are short."""

    start_timeout_s: float = Field(default=10.0, gt=0)
    """How long a new connection may take to begin or resume a session."""

    idle_timeout_s: float = Field(default=30.0, gt=0)
    """A session whose caller sends nothing for so long has lost its connection. Raise it for clients that are silent
    for longer without keeping alive."""

    finish_timeout_s: float = Field(default=30.0, gt=0)
    """How long the agent may be silent after the caller's `bye`. Raise it for agents with slow tools."""

    resume_window_s: float = Field(default=60.0, ge=0)
    """How long a session without a connection is kept at its worker. Raise it for callers that lose the network for
    longer, such as in tunnels; each one that waits counts towards `max_sessions`."""

    record_ttl_s: float = Field(default=900.0, gt=0)
    """How long a session stays in the store since its last change. Longer than `resume_window_s` and any silence of a
    call that another worker should be able to continue."""

    drain_timeout_s: float = Field(default=30.0, ge=0)
    """How long a worker that stops waits for its callers to go on elsewhere, and telephone calls to end. Raise it to
    the length of a telephone call where the worker has any, and the service manager's stop timeout with it."""

    downlink_target_s: float = Field(default=20.0, ge=0.5)
    """How far ahead of playback speech is sent. More bridges longer outages, and wastes more on an interruption."""

    downlink_cap_s: float = Field(default=30.0, ge=1.0)
    """Never more than so much is sent beyond what the caller has reported as played; at least `downlink_target_s`."""

    opus_complexity: int = Field(default=ANSWERS.complexity, ge=0, le=10, json_schema_extra=unit(None))
    """How hard the encoder of answers in Opus works. A higher one takes more of the worker's time for a slightly better
    sound."""

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
