"""Addresses of session stores, split by hand: no message repeats any part of one, for it may hold a password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

from quiclb.errors import ConfigError
from quiclb.net.address import parse_host_port
from voice_gateway.errors import StoreError

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+]*)://")
_RESERVED: Final = re.compile(r"[/?#\[\]\s\x00-\x1f\x7f]")
_PERCENT_ENCODE: Final = (
    "percent-encode the user name and the password in the session store's address: "
    "%23 for #, %2F for /, %3F for ?, %5B and %5D for [ and ], %40 for @"
)


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """`SCHEME://USER:PASSWORD@HOSTS/PATH?OPTIONS`; `hosts` is as it was written, the rest is percent-decoded."""

    scheme: str
    hosts: str = field(repr=False)
    path: str = field(repr=False)
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def split_hosts(self, default_port: int) -> list[tuple[str, int]]:
        """Return the hosts between the commas as `(host, port)`; raises `StoreError`."""
        entries = self.hosts.split(",")
        found = []
        for number, entry in enumerate(entries, 1):
            try:
                found.append(parse_host_port(entry, default_port))
            except (ConfigError, ValueError):
                which = f"host {number} of {len(entries)}" if len(entries) > 1 else "the host"
                raise StoreError(
                    f"{which} of the session store's address must be HOST:PORT or [IPV6]:PORT, port 1 to 65535; "
                    f"if a password stands there, {_PERCENT_ENCODE}"
                ) from None
        return found


def scheme_of(url: str) -> str | None:
    """Return what stands before `://`, `None` where that is no scheme; safe to show."""
    found = _SCHEME.match(url)
    return None if found is None else found[1]


def split_file_address(url: str) -> StoreAddress:
    """Split `SCHEME://HOSTS/PATH`, in which `@` is a character like others; raises `StoreError`."""
    scheme, _, rest = url.partition("://")
    if "?" in rest or "#" in rest:
        raise StoreError("write %3F for ? and %23 for # in the path of the session store's file")
    hosts, slash, path = rest.partition("/")
    return StoreAddress(scheme, hosts, slash + unquote(path))


def split_server_address(url: str) -> StoreAddress:
    """Split the address of servers at its last `@`; raises `StoreError`."""
    scheme, _, rest = url.partition("://")
    credentials, at, tail = rest.rpartition("@")
    if _RESERVED.search(credentials):
        raise StoreError(_PERCENT_ENCODE)
    if "#" in tail:
        raise StoreError(f"the session store's address takes nothing behind #; if a password has it, {_PERCENT_ENCODE}")
    before, _, query = tail.partition("?")
    hosts, slash, path = before.partition("/")
    username, colon, password = credentials.partition(":")
    try:
        return StoreAddress(
            scheme,
            hosts,
            slash + unquote(path, errors="strict"),
            tuple(parse_qsl(query, keep_blank_values=True, errors="strict")),
            unquote(username, errors="strict") or None,
            unquote(password, errors="strict") if at and colon else None,
        )
    except ValueError:
        raise StoreError("the session store's address has percent-encoded bytes that are not UTF-8") from None
