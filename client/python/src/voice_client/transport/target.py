"""Reads URLs, local addresses and certificate fingerprints."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from quiclb.errors import ConfigError
from quiclb.net.address import parse_address, parse_host, parse_host_port
from voice_client.errors import InvalidSetting

DEFAULT_PORT = 443
_PATH_CHARACTERS = "/%:@!$&'()*+,;="
"""What a path holds beside letters, digits and `-._~` (RFC 3986 section 3.3); all else is percent-encoded."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a session is opened: `https://host:port/path`.

    `host` is an IP address or a name in A-labels, as it is looked up: a final dot stays (RFC 1034 section 3.1).
    """

    host: str
    port: int
    path: str
    typed: str | None = field(default=None, compare=False)
    """The host as a person wrote it; default: `host`."""

    @property
    def server_name(self) -> str:
        """The host as it stands in SNI and in certificates: without the final dot (RFC 6066 section 3)."""
        return self.host.removesuffix(".")

    @property
    def authority(self) -> str:
        """`host:port` as it stands in a CONNECT request, the host as in SNI."""
        return _with_port(self.server_name, self.port)

    @property
    def shown(self) -> str:
        """`host:port` for messages, the host as it was typed."""
        return _with_port(self.typed or self.host, self.port)


def _with_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_url(url: str) -> Target:
    """Read the URL of a voice service; `InvalidSetting` says what is wrong with it."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidSetting(f"{url!r} is not a usable URL: {error}") from None
    if parts.scheme != "https":
        raise InvalidSetting(f"the URL must begin with https://, got {url!r}")
    if parts.username is not None or parts.password is not None:
        raise InvalidSetting("the URL must not hold a user name or a password; give the token apart")
    if not parts.netloc:
        raise InvalidSetting(f"the URL names no host: {url!r}")
    try:
        # a URL may end in a colon where its port is the default (RFC 3986 section 3.2.3)
        host, port = parse_host_port(parts.netloc.removesuffix(":"), DEFAULT_PORT)
    except ConfigError as error:
        raise InvalidSetting(f"{url!r} is not a usable URL: {error}") from None
    path = quote(parts.path or "/", safe=_PATH_CHARACTERS)
    query = quote(parts.query, safe=_PATH_CHARACTERS + "?")
    return Target(host, port, f"{path}?{query}" if query else path, parts.hostname)


def parse_local_address(text: str) -> tuple[str, int]:
    """Read `host`, `host:port`, an IPv6 address or `[v6]:port`; without a port the system picks one."""
    for read in (parse_address, lambda bare: (parse_host(bare), 0)):
        try:
            return read(text)
        except ConfigError:
            continue
    raise InvalidSetting(f"a local address is an IP address, with :port where wanted, got {text!r}")


def parse_fingerprint(text: str) -> bytes:
    """Read a certificate's SHA-256 fingerprint: 64 hexadecimal digits, colons allowed."""
    try:
        digest = bytes.fromhex(text.strip().replace(":", ""))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise InvalidSetting(f"a certificate hash is 64 hexadecimal digits (SHA-256), got {text!r}")
    return digest
