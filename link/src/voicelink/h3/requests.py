"""Header fields of a WebTransport CONNECT and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aioquic.h3.events import Headers

from voicelink.h3.session.dialect import PROTOCOL, PROTOCOLS


def connect_fields(authority: str, path: str, headers: Mapping[str, str]) -> Headers:
    """A client's request for a session (draft-02 section 3.3)."""
    return encode_fields(
        {
            ":method": "CONNECT",
            ":scheme": "https",
            ":authority": authority,
            ":path": path,
            ":protocol": PROTOCOL,
            "sec-webtransport-http3-draft02": "1",
            **headers,
        }
    )


METHOD_NOT_ALLOWED: Final[Mapping[str, str]] = {"allow": "CONNECT"}
"""The fields that go with status 405 (RFC 9110 section 15.5.6)."""


def is_trailer_section(fields: Mapping[str, str]) -> bool:
    """Whether a client's HEADERS are trailers: a request has a method (RFC 9114 section 4.3.1)."""
    return ":method" not in fields


def fault_status(fields: Mapping[str, str], is_ended: bool) -> int | None:
    """The HTTP status that refuses a request which is no WebTransport CONNECT; `None` for one that is."""
    if fields.get(":method") != "CONNECT":
        return 404 if fields.get(":method") in ("GET", "HEAD") else 405
    if fields.get(":protocol") not in PROTOCOLS:
        return 501
    is_sound = (
        not is_ended
        and fields.get(":scheme") == "https"
        and bool(fields.get(":authority"))
        and fields.get(":path", "").startswith("/")
    )
    return None if is_sound else 400


def encode_fields(fields: Mapping[str, str]) -> Headers:
    """Fields as HTTP/3 carries them."""
    return [(name.lower().encode(), value.encode()) for name, value in fields.items()]


def decode_fields(headers: Headers) -> dict[str, str]:
    """Fields as text; bytes beyond ASCII become what no path or token matches. Of a repeated one the last counts."""
    return {name.decode("ascii", "replace"): value.decode("ascii", "replace") for name, value in headers}


def regular_fields(fields: Mapping[str, str]) -> dict[str, str]:
    """Those that are no pseudo-header fields."""
    return {name: value for name, value in fields.items() if not name.startswith(":")}
