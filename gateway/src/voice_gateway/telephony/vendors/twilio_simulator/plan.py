"""Fetches TwiML and reads from it what is to be done with a call."""

from __future__ import annotations

import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Final
from urllib.parse import urlencode, urljoin
from xml.etree import ElementTree

from quiclb.errors import ConfigError
from quiclb.net.address import parse_host_port
from voice_gateway.errors import GatewayError

_TIMEOUT_S: Final = 10.0
_DEFAULT_PORTS: Final = {"https": 443, "http": 80, "wss": 443, "ws": 80}


class SimulationError(GatewayError):
    """The call could not be made, or broke."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Join the call to the stream at `url`; when that has ended, ask `action`, or end the call."""

    url: str
    parameters: Mapping[str, str]
    action: str | None = None


def check_url(url: str) -> str:
    """Return `url` of a page (`https:`, `http:`) or a stream (`wss:`, `ws:`) as it is; raises `SimulationError`."""
    scheme, _, rest = url.partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    if port is None:
        raise SimulationError(f"a URL begins with https://, http://, wss:// or ws://, got {url!r}")
    try:
        parse_host_port(re.split("[/?#]", rest, maxsplit=1)[0], port)
    except ConfigError as error:
        raise SimulationError(f"{url!r} is not a usable URL: {error}") from None
    if not url.isprintable() or " " in url:
        raise SimulationError(f"a URL holds neither spaces nor control characters, got {url!r}")
    return url


def fetch(
    url: str,
    form: Mapping[str, str],
    signed: Callable[[str, Mapping[str, str]], dict[str, str]],
    tls: ssl.SSLContext | None,
) -> bytes:
    """Ask the page at `url` with the headers of `signed`, as Twilio does; raises `SimulationError`."""
    asked = urllib.request.Request(url, urlencode(form).encode(), signed(url, form))  # noqa: S310 - http only
    try:
        with urllib.request.urlopen(asked, timeout=_TIMEOUT_S, context=tls) as answer:  # noqa: S310
            document: bytes = answer.read()
    except urllib.error.HTTPError as error:
        error.close()
        raise SimulationError(f"{url}: {error}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise SimulationError(f"{url}: {str(error) or type(error).__name__}") from None
    return document


def read_plan(page: str, document: bytes, parameters: Mapping[str, str]) -> Plan | None:
    """Read the TwiML of `page`, `parameters` first; `None` where it ends the call. Raises `SimulationError`."""
    try:
        # the operator's own worker answers, and expat expands nothing from outside
        connection = ElementTree.fromstring(document).find("./Connect")  # noqa: S314
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise SimulationError(f"{page}: no TwiML: {error}") from None
    stream = None if connection is None else connection.find("./Stream")
    if connection is None or stream is None or not stream.get("url"):
        return None
    named = {each.get("name", ""): each.get("value", "") for each in stream.iter("Parameter")}
    action = connection.get("action")
    following = None if action is None else check_url(urljoin(page, action))
    return Plan(check_url(stream.get("url", "")), named | dict(parameters), following)
