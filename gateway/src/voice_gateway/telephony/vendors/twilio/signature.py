"""Whether a request is Twilio's: `X-Twilio-Signature`, sans-IO (Twilio documentation, "Webhooks security").

The signature is base64 of an HMAC over the URL as Twilio called it, followed by every parameter of a POSTed form, name
and value, in the order of the names. The key is the account's auth token with SHA-1, or a shared key with SHA-256 where
`X-Twilio-Webhooks-Signature-Settings` says so.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

SIGNATURE_HEADER: Final = "x-twilio-signature"
SETTINGS_HEADER: Final = "x-twilio-webhooks-signature-settings"
Form = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """Knows the secrets of the Twilio account; a signature made with one that is not given is wrong."""

    auth_token: str | None = field(default=None, repr=False)
    shared_key: str | None = field(default=None, repr=False)

    def is_genuine(self, url: str, form: Form, headers: Mapping[str, str]) -> bool:
        """Whether the request to `url` (with any query) was signed; names of `headers` are in lower case.

        Twilio signs URLs with their port or without it, whichever way it was given: both are tried.
        """
        algorithm = _algorithm(headers.get(SETTINGS_HEADER, ""))
        secret = {"HMAC_SHA1": self.auth_token, "HMAC_SHA256": self.shared_key}.get(algorithm)
        offered = headers.get(SIGNATURE_HEADER, "").encode()
        if not secret or not offered:
            return False
        form = tuple(form)
        made = [signature(secret, each, form, _DIGESTS[algorithm]).encode() for each in _spellings(url)]
        return any(hmac.compare_digest(each, offered) for each in made)


def signature(secret: str, url: str, form: Form = (), digest: str = "sha1") -> str:
    """Return what Twilio puts into `X-Twilio-Signature`."""
    signed = url + "".join(name + value for name, value in sorted(set(form)))
    return b64encode(hmac.digest(secret.encode(), signed.encode(), digest)).decode()


def _algorithm(settings: str) -> str:
    """The algorithm in `key=...,algorithm=HMAC_SHA256`; without one, that of the auth token."""
    for part in settings.split(","):
        name, _, value = part.partition("=")
        if name.strip() == "algorithm" and value.strip():
            return value.strip().upper()
    return "HMAC_SHA1"


def _spellings(url: str) -> tuple[str, ...]:
    """The URL as it is, without its port, and with the port that its scheme implies. Total: a host is any text."""
    scheme, _, rest = url.partition("://")
    authority, slash, target = rest.partition("/")
    host, colon, port = authority.rpartition(":")
    if not colon or not port.isdecimal():
        host = authority
    default = f"{host}:{_PORTS.get(scheme, 443)}"
    spelled = (url, *(f"{scheme}://{each}{slash}{target}" for each in (host, default)))
    return tuple(dict.fromkeys(spelled))


_DIGESTS: Final = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
_PORTS: Final = {"https": 443, "wss": 443, "http": 80, "ws": 80}
