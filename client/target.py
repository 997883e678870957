"""Which server a call is for, and how it proves who it is."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from client.errors import InvalidSetting

DEFAULT_PORT = 443


@dataclass(frozen=True, slots=True)
class Target:
    """Where a session is opened: `https://host:port/path`."""

    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """`host:port` as it stands in a CONNECT request."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_url(url: str) -> Target:
    """Read the URL of a voice service; `InvalidSetting` says what is wrong with it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidSetting(f"{url!r} is not a usable URL: {error}") from None
    if parts.scheme != "https":
        raise InvalidSetting(f"the URL must begin with https://, got {url!r}")
    if not parts.hostname:
        raise InvalidSetting(f"the URL names no host: {url!r}")
    if parts.username is not None or parts.password is not None:
        raise InvalidSetting("the URL must not hold a user name or a password; give the token apart")
    path = parts.path or "/"
    return Target(parts.hostname, port or DEFAULT_PORT, f"{path}?{parts.query}" if parts.query else path)


def parse_local_address(text: str) -> tuple[str, int]:
    """Read `host`, `host:port`, an IPv6 address or `[v6]:port`; without a port the system picks one."""
    if text.count(":") > 1 and not text.startswith("["):
        return text, 0
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port or 0
    except ValueError:
        host, port = None, 0
    if host is None or parts.path:
        raise InvalidSetting(f"a local address is an IP address, with :port where wanted, got {text!r}")
    return host, port


def parse_fingerprint(text: str) -> bytes:
    """Read a certificate's SHA-256 fingerprint: 64 hexadecimal digits, colons allowed."""
    try:
        digest = bytes.fromhex(text.strip().replace(":", ""))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise InvalidSetting(f"a certificate hash is 64 hexadecimal digits (SHA-256), got {text!r}")
    return digest
