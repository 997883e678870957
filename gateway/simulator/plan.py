"""What TwiML tells Twilio to do with a call: asked for, and read."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urljoin
from xml.etree import ElementTree

from gateway.errors import GatewayError

_TIMEOUT_S: Final = 10.0


class SimulationError(GatewayError):
    """The call could not be made, or broke."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Join the call to the stream at `url`; when that has ended, ask `action`, or end the call."""

    url: str
    parameters: Mapping[str, str]
    action: str | None = None


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
    except OSError as error:
        raise SimulationError(f"{url}: {error}") from None
    return document


def read_plan(page: str, document: bytes, parameters: Mapping[str, str]) -> Plan | None:
    """Read the TwiML of `page`, `parameters` first; `None` where it ends the call. Raises `SimulationError`."""
    try:
        # the operator's own worker answers, and expat expands nothing from outside
        connection = ElementTree.fromstring(document).find("./Connect")  # noqa: S314
    except ElementTree.ParseError as error:
        raise SimulationError(f"{page}: no TwiML: {error}") from None
    stream = None if connection is None else connection.find("./Stream")
    if connection is None or stream is None or not stream.get("url"):
        return None
    named = {each.get("name", ""): each.get("value", "") for each in stream.iter("Parameter")}
    action = connection.get("action")
    return Plan(stream.get("url", ""), named | dict(parameters), None if action is None else urljoin(page, action))
