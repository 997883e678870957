"""Access tokens: signed by the application that knows the caller, checked by every worker (RFC 7519). Sans-IO.

A token names its subject and audience and ends by itself, soon. `origins` and `agents`, where it has them, say from
which pages and to which agents it lets its bearer call.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import jwt
import msgspec

from voice_gateway.access.keys import AccessKey

DEFAULT_AUDIENCE: Final = "voice-gateway"
MAX_TOKEN_BYTES: Final = 4096
MAX_SUBJECT_CHARACTERS: Final = 255
DEFAULT_MAX_LIFETIME_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says; times are seconds since 1970, `None` stands for any origin and any agent."""

    subject: str
    expires: float
    origins: frozenset[str] | None = None
    agents: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class TokenFault:
    """Why a token is refused: `cause` for metrics, `reason` completes the sentence "the access token ..."."""

    cause: str
    reason: str


class TokenVerifier:
    """Checks tokens with several keys, old and new: those named by `kid`, or any where a token names none.

    `leeway_s` is how far the clocks of signer and worker may be apart. No token is taken that is good for longer than
    `max_lifetime_s`: from its `iat` (or `nbf`, where that is later) to its `exp`, and from now to its `exp`.
    """

    def __init__(
        self,
        keys: Iterable[AccessKey],
        *,
        audience: str = DEFAULT_AUDIENCE,
        issuer: str | None,
        leeway_s: float = 0.0,
        max_lifetime_s: float = DEFAULT_MAX_LIFETIME_S,
    ) -> None:
        self.keys = tuple(keys)
        self._audience = audience
        self._issuer = issuer
        self._leeway_s = leeway_s
        self._max_lifetime_s = max_lifetime_s

    def verify(self, token: str, now: float) -> Claims | TokenFault:
        """Return what the token says at `now`, in seconds since 1970, or why it counts for nothing."""
        if len(token) > MAX_TOKEN_BYTES:
            return TokenFault("malformed", f"is longer than {MAX_TOKEN_BYTES} bytes")
        if not token.isascii():
            return _MALFORMED
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
        except (jwt.InvalidTokenError, RecursionError):  # a header may be nothing but brackets
            return _MALFORMED
        payload = self._payload(token, [key for key in self.keys if key_id is None or key.id == key_id])
        if isinstance(payload, TokenFault):
            return payload
        try:
            said = msgspec.convert(payload, _Payload)
        except msgspec.ValidationError as error:
            return TokenFault("claims", f"has a claim that cannot be: {error}")
        return self._fault(said, now) or Claims(said.sub, said.exp, _names(said.origins), _names(said.agents))

    def _payload(self, token: str, keys: list[AccessKey]) -> dict[str, Any] | TokenFault:
        for key in keys:
            try:
                payload: dict[str, Any] = jwt.decode(
                    token, key.material, algorithms=[key.algorithm], options=_SIGNATURE_ONLY
                )
            except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError, jwt.InvalidKeyError):
                continue
            except (jwt.InvalidTokenError, RecursionError):
                return _MALFORMED
            return payload
        return TokenFault("signature", "is not signed by a key that counts here")

    def _fault(self, said: _Payload, now: float) -> TokenFault | None:
        audiences = [said.aud] if isinstance(said.aud, str) else said.aud
        if not said.sub or len(said.sub) > MAX_SUBJECT_CHARACTERS:
            return TokenFault("claims", f"names no subject of 1 to {MAX_SUBJECT_CHARACTERS} characters")
        if self._audience not in audiences:
            return TokenFault("audience", "is for another audience")
        if self._issuer is not None and said.iss != self._issuer:
            return TokenFault("issuer", "is of another issuer")
        if not math.isfinite(said.exp) or now >= said.exp + self._leeway_s:
            return TokenFault("expired", "has expired")
        if not all(now >= begins - self._leeway_s for begins in (said.nbf, said.iat) if begins is not None):
            return TokenFault("not_yet_valid", "is not valid yet")
        if said.exp - _begin(said, now) > self._max_lifetime_s + self._leeway_s:
            return TokenFault("lifetime", f"is good for longer than {self._max_lifetime_s:g} s")
        return None


def mint(
    key: AccessKey,
    *,
    subject: str,
    now: float,
    lifetime_s: float,
    audience: str = DEFAULT_AUDIENCE,
    issuer: str | None = None,
    starts_in_s: float = 0.0,
    origins: Iterable[str] = (),
    agents: Iterable[str] = (),
) -> str:
    """Return a token for `subject`, good for `lifetime_s` from `now` plus `starts_in_s` on."""
    issued = int(now)
    claims: dict[str, Any] = {"sub": subject, "aud": audience, "iat": issued}
    begins = issued + math.ceil(starts_in_s)
    claims |= {"exp": begins + math.ceil(lifetime_s)} | ({"nbf": begins} if starts_in_s else {})
    optional = {"iss": issuer, "origins": list(origins), "agents": list(agents)}
    claims |= {name: value for name, value in optional.items() if value}
    return jwt.encode(claims, key.material, algorithm=key.algorithm, headers={"kid": key.id} if key.id else None)


def _begin(said: _Payload, now: float) -> float:
    """When the lifetime began: at `iat`, or `nbf` where that is later, and now at the latest; now without `iat`."""
    return now if said.iat is None else min(now, max(said.iat, said.nbf or said.iat))


class _Payload(msgspec.Struct):
    sub: str
    exp: float
    aud: str | list[str]
    nbf: float | None = None
    iat: float | None = None
    iss: str | None = None
    origins: list[str] | None = None
    agents: list[str] | None = None


_MALFORMED: Final = TokenFault("malformed", "is not a signed token")
# times, audience and issuer are checked above, by a clock that is an argument
_SIGNATURE_ONLY: Any = {
    "verify_signature": True,
    **{f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")},
}


def _names(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
