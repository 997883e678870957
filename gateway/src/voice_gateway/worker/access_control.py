"""Admission to sessions and handshakes, made of the settings; part of the composition root."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from voice_gateway.access.attempts import Handshakes
from voice_gateway.access.gate import Gate
from voice_gateway.access.keys import AccessKey
from voice_gateway.access.tokens import TokenVerifier, mint
from voice_gateway.session.opening.session_admission import Admission
from voice_gateway.settings.gateway_settings import GatewaySettings

TELEPHONE_TOKEN_S: Final = 60.0
"""It is checked at once, and does not leave the worker."""


class AccessControl:
    """The admission to sessions and to handshakes, made of `[access]` and `[limits]`; their `Reloadable`.

    `clock` gives seconds since 1970. The constructor raises `ConfigurationError`.
    """

    name = "access"

    def __init__(self, settings: GatewaySettings, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._settings = settings
        self._gate = _gate(settings)
        self._limits = settings.limits.build()
        self.handshakes = Handshakes(self._limits)
        self.admission = Admission(
            self._gate, self._limits, max_sessions=settings.session.max_sessions, wall_clock=clock
        )

    @property
    def asks_for_tokens(self) -> bool:
        """Whether callers need an access token."""
        return not self._gate.is_open

    def telephone_token(self, call_sid: str) -> str | None:
        """Return the access token of a call that showed its stream token; `None` where none is needed."""
        key = _telephone_key(self._settings)
        if self._gate.verifier is None or key is None or self._gate.shared_token is not None:
            return self._gate.shared_token
        access = self._settings.access
        return mint(
            key,
            subject=f"call:{call_sid}",
            now=self._clock(),
            lifetime_s=TELEPHONE_TOKEN_S,
            audience=access.audience,
            issuer=access.issuer,
        )

    def files(self, settings: GatewaySettings) -> Iterable[Path]:
        access = settings.access
        return (path for path in (access.token_file, access.secret_file, *access.key_files) if path is not None)

    def reload(self, settings: GatewaySettings) -> None:
        gate, limits = _gate(settings), settings.limits.build()
        if limits != self._limits:
            self.handshakes.renew(limits)
        self.admission.renew(gate, limits)
        self._settings, self._gate, self._limits = settings, gate, limits


def _gate(settings: GatewaySettings) -> Gate:
    access = settings.access
    keys = access.read_keys()
    telephone_key = _telephone_key(settings)
    verifier = TokenVerifier(
        (*keys, telephone_key) if telephone_key else keys,
        audience=access.audience,
        issuer=access.issuer,
        leeway_s=access.leeway_s,
        max_lifetime_s=access.max_lifetime_s,
    )
    return Gate(
        shared_token=access.read_token(),
        verifier=verifier if keys else None,
        origins=None if access.origins is None else frozenset(access.origins),
    )


def _telephone_key(settings: GatewaySettings) -> AccessKey | None:
    """A key that every worker of the Twilio account has; who knows that secret can sign calls as Twilio anyway."""
    telephony = settings.telephony
    secret = None if telephony is None else telephony.read_auth_token() or telephony.read_shared_key()
    if secret is None:
        return None
    return AccessKey("voice-gateway/telephone", "HS256", hmac.digest(secret.encode(), b"access tokens", "sha256"))
