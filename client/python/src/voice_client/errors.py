"""Why there is no call, or why it ended.

    ClientError
    ├── InvalidSetting        the URL, a fingerprint, an address or an option cannot be used
    ├── SourceError           a WAV file, a microphone or a voice cannot be used
    ├── UplinkFull            the caller sends faster than the server acknowledges
    ├── MessageError          a text, a message or a tool's result cannot be sent
    ├── ConnectError          there is no session, and there never was
    │   ├── Unreachable       no answer, or the port is closed
    │   ├── CertificateRefused  the caller does not trust the server's certificate
    │   ├── AccessRefused     the token is missing, wrong, expired or not for this; or none could be fetched
    │   └── SessionRefused    the server declines for another reason; `status` is its HTTP status
    ├── CallLost              the connection ended without a close code
    ├── SessionFailed         the server ended the session; `code` says why
    │   └── ServerDrained     the worker went away before the call was finished
    ├── ProtocolFault         the server broke the voice protocol
    └── MigrationFailed       the new path was not usable; the call goes on where it was

The message is always one sentence that can be shown to a person.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from voicelink.wire import CloseCode


class ClientError(Exception):
    """The base of all errors that the client raises."""


class InvalidSetting(ClientError):
    """A setting cannot be used."""


class SourceError(ClientError):
    """There is nothing to say: the source of speech cannot be read."""


class UplinkFull(ClientError):
    """More audio is unacked than is kept; send no faster than real time."""


class MessageError(ClientError):
    """A message is not plain or too large, too many are unacked, or the server takes none."""


class ConnectError(ClientError):
    """No session came about."""


class Unreachable(ConnectError):
    """The server did not answer in time, or nothing listens there.

    `is_reset`: it answered at first and knew nothing of it then, as when a worker is replaced; another try may succeed.
    """

    def __init__(self, message: str, *, is_reset: bool = False) -> None:
        super().__init__(message)
        self.is_reset = is_reset


class CertificateRefused(ConnectError):
    """The server's certificate is not the pinned one, or no trusted authority vouches for it."""


class AccessRefused(ConnectError):
    """The server does not accept the access token, or the caller could not get one."""


class SessionRefused(ConnectError):
    """The server declines the session with an HTTP status other than 401 and 403.

    `retry_after_s` is when it may take one, where it says so.
    """

    def __init__(self, message: str, status: int, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class CallLost(ClientError):
    """The connection ended while the call was going on."""


class SessionFailed(ClientError):
    """The server ended the session; `code` is the protocol's number for the reason."""

    def __init__(self, message: str, code: CloseCode | int) -> None:
        super().__init__(message)
        self.code = code


class ServerDrained(SessionFailed):
    """The worker is going away, and its deadline passed before the call was finished."""


class ProtocolFault(ClientError):
    """What the server sent breaks the voice protocol."""


class MigrationFailed(ClientError):
    """The call could not move to the new path."""


def session_ended(code: int, reason: str) -> SessionFailed:
    """The error for a session that the server closed with `code`."""
    known = next((member for member in CloseCode if member == code), None)
    name = known.name.lower().replace("_", " ") if known is not None else f"code {code}"
    if known is CloseCode.DRAINING:
        return ServerDrained(f"the server went away before the call was finished{_because(reason)}", known)
    return SessionFailed(f"the server ended the call: {name}{_because(reason)}", code if known is None else known)


def session_refused(
    status: int, path: str, headers: Mapping[str, str] | None = None, *, has_token: bool = True
) -> ConnectError:
    """The error for a CONNECT request that was answered with `status` and `headers`, names in lower case."""
    headers = headers or {}
    if status in (401, 403):
        why = _described(headers.get("www-authenticate", ""))
        if why is not None:
            return AccessRefused(f"the server refused access: {why} (HTTP status {status})")
        if status == 401 and not has_token:
            return AccessRefused("the server wants an access token (HTTP status 401)")
        return AccessRefused(f"the server refused the access token (HTTP status {status})")
    if status == 404:
        return SessionRefused(f"the server offers no voice service at {path} (HTTP status 404)", status)
    if status in (429, 503):
        retry_after_s = _seconds(headers.get("retry-after", ""))
        what = "too many calls or attempts of yours" if status == 429 else "the server takes no more calls now"
        when = "" if retry_after_s is None else f"; try again in {retry_after_s} s"
        return SessionRefused(f"{what} (HTTP status {status}){when}", status, retry_after_s)
    return SessionRefused(f"the server refused the call (HTTP status {status})", status)


def _described(challenge: str) -> str | None:
    """What a server says in `WWW-Authenticate: Bearer` (RFC 6750 section 3)."""
    found = re.search(r'error_description="([\x20-\x21\x23-\x5b\x5d-\x7e]{1,200})"', challenge)
    return found[1] if found else None


def _seconds(retry_after: str) -> int | None:
    """The delay of `Retry-After`; a date, its other form, is left out."""
    return int(retry_after) if re.fullmatch("[0-9]{1,5}", retry_after) else None


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""
