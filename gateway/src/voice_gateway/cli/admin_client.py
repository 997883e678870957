"""Asks the admin interface of running workers."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from quiclb.errors import ConfigError
from quiclb.net.address import format_address, parse_address, parse_host_port
from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.fields import read_text

DEFAULT_ADMIN: Final = "http://127.0.0.1:9090"
TIMEOUT_S: Final = 5.0
_MAX_REASON_BYTES: Final = 500


class NotServedError(ConfigurationError):
    """There is no such page at this address."""


@dataclass(frozen=True, slots=True)
class AdminClient:
    """One worker's admin interface. Every call raises `ConfigurationError` with what was asked and why it failed."""

    base: str
    token: str | None = None

    @classmethod
    def of(cls, admin: str, token_file: Path | None = None, token: str | None = None) -> AdminClient:
        """Take an address as it is typed, `127.0.0.1:9090` or a URL, and the token, if one is needed."""
        base = (admin if "://" in admin else f"http://{admin}").rstrip("/")
        scheme, _, authority = base.partition("://")
        if scheme not in ("http", "https"):
            raise ConfigurationError(f"--admin must be an http:// or https:// address, got {admin!r}")
        try:
            parse_host_port(authority.partition("/")[0], default_port=80)
        except ConfigError as error:
            raise ConfigurationError(f"--admin: {error}") from None
        return cls(base, token if token_file is None else read_text("--token-file", token_file))

    def workers(self) -> list[AdminClient]:
        """Return this worker's, or those of the workers of the supervisor (`voice-gateway up`) that answers here.

        Workers are on the supervisor's host, and speak TLS if it does; of the answer only their ports count, so that
        the token goes to no other host and never in clear to one that was asked over TLS.
        """
        try:
            document = self._json(f"{self.base}/workers")
        except NotServedError:
            return [self]
        workers = document.get("workers", []) if isinstance(document, dict) else []
        scheme, _, authority = self.base.partition("://")
        host, _ = parse_host_port(authority.partition("/")[0], default_port=80)
        ports = [parse_address(each["admin"])[1] for each in workers if each.get("admin")]
        return [replace(self, base=f"{scheme}://{format_address((host, port))}") for port in ports]

    def sessions(self) -> dict[str, Any]:
        """Return the document of `/sessions`."""
        document = self._json(f"{self.base}/sessions")
        if not isinstance(document, dict) or not {"worker", "sessions", "ended"} <= document.keys():
            raise ConfigurationError(f"what answers at {self.base}/sessions is no worker")
        return document

    def qlog(self, session: str, seconds: float) -> bytes:
        """Return the qlog of the session's connection over the next seconds."""
        body = json.dumps({"seconds": seconds}).encode()
        return self._ask(f"{self.base}/sessions/{session}/qlog", body, timeout_s=seconds + TIMEOUT_S)

    def _json(self, url: str) -> Any:
        answer = self._ask(url)
        try:
            return json.loads(answer)
        except ValueError as error:
            raise ConfigurationError(f"no worker answers at {url}: {_reason(error)}") from None

    def _ask(self, url: str, body: bytes | None = None, timeout_s: float = TIMEOUT_S) -> bytes:
        request = urllib.request.Request(url, body)  # noqa: S310 - http or https, checked in `of`
        if self.token is not None:
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310 - as above
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            with error:  # what it says names the remedy
                reason = _first_line(error.read(_MAX_REASON_BYTES))
            failure = NotServedError if error.code == HTTPStatus.NOT_FOUND else ConfigurationError
            raise failure(f"no worker answers at {url}: {error.code} {reason or error.reason}") from None
        except urllib.error.URLError as error:
            raise ConfigurationError(f"no worker answers at {url}: {_reason(error.reason)}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ConfigurationError(f"no worker answers at {url}: {_reason(error)}") from None


def _first_line(answer: bytes) -> str:
    text = answer.decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except ValueError:
        return text.partition("\n")[0]
    return str(document.get("error", "")) if isinstance(document, dict) else ""


def _reason(error: object) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return reason[:1].lower() + reason[1:]
