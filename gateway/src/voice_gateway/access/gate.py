"""The decision whether a caller is admitted, before there is a session. Sans-IO."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from voice_gateway.access.tokens import TokenFault, TokenVerifier


@dataclass(frozen=True, slots=True)
class Grant:
    """The caller is admitted; `subject` is the one its token names, `None` where no token is asked for."""

    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Denial:
    """The caller is refused: an HTTP status, a `cause` of few values for metrics, and a sentence for the caller."""

    status: int
    cause: str
    reason: str


@dataclass(frozen=True, slots=True)
class Gate:
    """Admits callers with `shared_token`, or with a token that `verifier` accepts; without either, all callers.

    `origins` are those whose pages may call, `None` any; a caller that sends no origin is not checked for it.
    """

    shared_token: str | None = field(default=None, repr=False)
    verifier: TokenVerifier | None = None
    origins: frozenset[str] | None = None

    @property
    def is_open(self) -> bool:
        """Whether no token is asked for."""
        return self.shared_token is None and self.verifier is None

    def admit(self, token: str | None, origin: str | None, agent: str, now: float) -> Grant | Denial:
        """Decide on a caller who wants to talk to `agent`; `now` is seconds since 1970."""
        allowed = self.origins
        if self.is_open:
            grant = Grant()
        elif token is None:
            return Denial(401, "token_missing", "an access token is needed")
        elif self.shared_token is not None and _is_same(token, self.shared_token):
            grant = Grant()
        elif self.verifier is None:
            return Denial(401, "token_wrong", "the access token is wrong")
        else:
            claims = self.verifier.verify(token, now)
            if isinstance(claims, TokenFault):
                return Denial(401, f"token_{claims.cause}", f"the access token {claims.reason}")
            if claims.agents is not None and agent not in claims.agents:
                return Denial(403, "agent", "the access token is for other agents than the one here")
            if claims.origins is not None:
                allowed = claims.origins if allowed is None else allowed & claims.origins
            grant = Grant(claims.subject)
        if allowed is not None and origin is not None and origin not in allowed:
            return Denial(403, "origin", "pages of this origin may not call")
        return grant


def _is_same(offered: str, expected: str) -> bool:
    """Compare in a time that does not tell how much of the token is right."""
    return hmac.compare_digest(offered.encode(errors="backslashreplace"), expected.encode())
