"""Where agent hosts listen, and what a connection to them must prove."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from quiclb.errors import ConfigError
from quiclb.net.address import parse_host_port
from voice_gateway.errors import ConfigurationError

_MAX_UNIX_PATH_BYTES: Final = 107


@dataclass(frozen=True, slots=True)
class HostAddress:
    """A unix socket's `path`, or a TCP `host` and `port`."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"tcp:[{self.host}]:{self.port}" if ":" in self.host else f"tcp:{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether it can be reached from this machine alone: then neither TLS nor a token is required."""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def numbered(self, number: int) -> HostAddress:
        """Return the address of the process `number` of several: `agents-1.sock`, or that port plus one."""
        if self.path is not None:
            return HostAddress(self.path.with_name(f"{self.path.stem}-{number}{self.path.suffix}"))
        return HostAddress(host=self.host, port=self.port + number if self.port else 0)


def parse_host_address(text: str, directory: Path = Path()) -> HostAddress:
    """Read `unix:PATH`, relative to `directory`, or `tcp:HOST:PORT`; raises `ConfigurationError`."""
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest:
        path = directory / rest
        if len(str(path).encode()) > _MAX_UNIX_PATH_BYTES:
            raise ConfigurationError(f"a unix socket's path has at most {_MAX_UNIX_PATH_BYTES} bytes, got {path}")
        return HostAddress(path)
    if kind == "tcp":
        try:
            host, port = parse_host_port(rest)
        except ConfigError as error:
            raise ConfigurationError(f"{text}: {error}") from None
        return HostAddress(host=host.strip("[]"), port=port)
    raise ConfigurationError(f"an agent host is unix:PATH or tcp:HOST:PORT, got {text!r}")


@dataclass(frozen=True, slots=True)
class HostCredentials:
    """What a worker shows a host: a token, and the TLS context in which the host's certificate is checked."""

    token: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None


def worker_credentials(address: HostAddress, token: str | None, ca_file: Path | None) -> HostCredentials:
    """Return what the worker shows at this address; raises `ConfigurationError` where that is not enough.

    TLS is used beyond this machine, and on it where a `ca_file` is given; never over a unix socket.
    """
    if not address.is_local and token is None:
        raise ConfigurationError(
            f"{address} is beyond this machine: agent.hosts.token_file is required, with a token that the host has too"
        )
    if address.path is not None or (address.is_local and ca_file is None):
        return HostCredentials(token)
    try:
        return HostCredentials(token, ssl.create_default_context(cafile=ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"agent.hosts.ca_file cannot be read: {error}") from None


def server_credentials(
    address: HostAddress, token: str | None, certificate: Path | None, key: Path | None
) -> HostCredentials:
    """Return what the host serves with; raises `ConfigurationError` where that is not enough at this address."""
    if (certificate is None) != (key is None):
        raise ConfigurationError("--tls-certificate and --tls-key are given both or not at all")
    if not address.is_local and (token is None or certificate is None):
        raise ConfigurationError(
            f"--listen {address} can be reached from other machines: --token-file, --tls-certificate and --tls-key are "
            "required there; or listen at a unix socket or at tcp:127.0.0.1:PORT"
        )
    if certificate is None or key is None or address.path is not None:
        return HostCredentials(token)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"--tls-certificate and --tls-key cannot be served: {error}") from None
    return HostCredentials(token, context)
