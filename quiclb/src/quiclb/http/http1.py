"""HTTP/1.1 requests and answers of the worker's and the balancer's servers. Sans-IO; no peer input raises."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

MAX_HEAD_BYTES: Final = 16_384
"""The longest request head that is read; the connection of a longer one is closed."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request line and its fields: names in lower case, values of repeated fields joined by `, `."""

    method: str
    target: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BadRequest:
    """Why a request is refused: the status to answer and one sentence."""

    status: HTTPStatus
    reason: str


def split_target(target: str) -> tuple[str, str]:
    """Split a request target (RFC 9112 section 3.2.1) or `:path` (RFC 9114 section 4.3.1) into path and query.

    Total: every text has a path and a query, either of which may be empty. Nothing is decoded or normalised, so
    `//host/x` and `/v1/../x` are paths like any other, which match no path that is served.
    """
    path, _, query = target.partition("?")
    return path, query


def parse_head(head: bytes) -> RequestHead | BadRequest:
    """Read a request head, with or without its empty line (RFC 9112 sections 3 and 5)."""
    line, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    parts = line.split(" ")
    if len(parts) != 3 or parts[2] not in ("HTTP/1.1", "HTTP/1.0") or not parts[1].startswith("/"):
        return _bad("this is HTTP/1.1: send a method, a path that begins with a slash, and the version")
    fields: dict[str, str] = {}
    hosts = 0
    for each in lines:
        field = _FIELD.fullmatch(each)
        if field is None:
            return _bad("each header line is a name, a colon and a value (RFC 9112 section 5)")
        name, value = field["name"].lower(), field["value"].strip(" \t")
        hosts += name == "host"
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    if hosts > 1 or (not hosts and parts[2] == "HTTP/1.1") or (hosts and host_name(fields["host"]) is None):
        return _bad("a request has one Host, a name or an address with an optional port (RFC 9112 section 3.2)")
    return RequestHead(parts[0], parts[1], fields)


def body_length(fields: Mapping[str, str], most: int) -> int | BadRequest:
    """Return how many bytes of body follow; 0 where none is announced (RFC 9112 section 6)."""
    text = fields.get("content-length", "0")
    if "transfer-encoding" in fields or not (text.isascii() and text.isdecimal()):
        return BadRequest(HTTPStatus.LENGTH_REQUIRED, "a body is announced by its Content-Length")
    # by digits first: Python refuses to read a number of more than 4,300
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(most)) or int(digits) > most:
        return BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body holds at most {most} bytes")
    return int(digits)


def host_name(authority: str) -> str | None:
    """Return the host of `host`, `host:port` or `[IPv6]:port` in lower case, without brackets; `None` if it is none."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return None
    if found["ipv6"] is None:
        return found["name"].lower()
    try:
        return str(ipaddress.IPv6Address(found["ipv6"]))
    except ValueError:
        return None


def encode_response(
    status: HTTPStatus, fields: Mapping[str, str], body: bytes = b"", *, has_body: bool = True
) -> bytes:
    """Return an answer after which the connection is closed; without its body for HEAD."""
    # RFC 9110 section 8.6: with 304 it would be the length of what is not sent
    length = {} if status is HTTPStatus.NOT_MODIFIED else {"Content-Length": str(len(body))}
    head = encode_head(status, {**length, **fields})
    return head + body if has_body else head


def encode_head(status: HTTPStatus, fields: Mapping[str, str]) -> bytes:
    """Return the head of an answer whose body ends at `Content-Length`, or where the connection is closed."""
    merged = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Connection": "close", **fields}
    lines = "".join(f"{name}: {value}\r\n" for name, value in merged.items())
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n{lines}\r\n".encode()


@dataclass(frozen=True, slots=True)
class HostRule:
    """Which hosts a server is asked for, so that no page of a foreign site reads it by DNS rebinding.

    Such a page makes its own name resolve to this server; the browser then sends that name as `Host`. Allowed are IP
    addresses (with `loopback_only` those of loopback), `localhost` and names below it, and `names`, of which
    `*.example.com` stands for every name below `example.com`. `setting` is the key that holds them. An `Origin` has to
    be of an allowed host too. A request without `Host` (HTTP/1.0) comes from no browser and is allowed.
    """

    names: frozenset[str] = frozenset()
    setting: str | None = None
    loopback_only: bool = False

    @classmethod
    def of(cls, names: Iterable[str], setting: str) -> HostRule:
        """Allow addresses, `localhost` and these names."""
        return cls(frozenset(name.lower().rstrip(".") for name in names), setting)

    def refusal(self, fields: Mapping[str, str]) -> BadRequest | None:
        """Say why the request with these fields is refused: 421 for its `Host`, 403 for its `Origin`."""
        host = fields.get("host")
        if host is not None and not self._allows(host_name(host)):
            return BadRequest(HTTPStatus.MISDIRECTED_REQUEST, f"this Host is not served here: {self._remedy()}")
        origin = fields.get("origin")
        if origin is not None and not self._allows(host_name(origin.partition("://")[2])):
            return BadRequest(HTTPStatus.FORBIDDEN, f"pages of this Origin may not ask: {self._remedy()}")
        return None

    def _remedy(self) -> str:
        if self.loopback_only:
            return "use localhost or a loopback address"
        return f"use an IP address or localhost, or add the name to {self.setting}"

    def _allows(self, host: str | None) -> bool:
        if not host:
            return False
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            name = host.removesuffix(".")
        else:
            return not self.loopback_only or address.is_loopback
        if name == "localhost" or name.endswith(".localhost") or name in self.names:
            return True
        parents = name.split(".")
        return any("*." + ".".join(parents[depth:]) in self.names for depth in range(1, len(parents)))


def _bad(reason: str) -> BadRequest:
    return BadRequest(HTTPStatus.BAD_REQUEST, reason)


_FIELD: Final = re.compile(r"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+):(?P<value>[^\r\n\0]*)")
_AUTHORITY: Final = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._~!$&'()*+,;=%-]*))(?::[0-9]{0,5})?"
)
