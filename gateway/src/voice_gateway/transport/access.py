"""How a caller shows its access token over HTTP, and how a refusal answers it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs

from voice_gateway.transport.base import Refusal
from voicelink.wire import CloseCode


def access_token(headers: Mapping[str, str], query: str) -> str | None:
    """Return the token of `Authorization: Bearer`, else the query's `token`; names of `headers` are in lower case."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials:
        return credentials.strip()
    return next(iter(parse_qs(query).get("token", ())), None)


def refusal_fields(refusal: Refusal, *, has_token: bool) -> dict[str, str]:
    """Header fields that go with the refusal's status (RFC 6750 section 3, RFC 9110 section 10.2.3)."""
    if refusal.status in (401, 403):
        error = {401: "invalid_token", 403: "insufficient_scope"}[refusal.status]
        detail = f', error="{error}", error_description="{refusal.reason}"' if has_token else ""
        return {"www-authenticate": f'Bearer realm="voice"{detail}'}
    if refusal.retry_after_s is not None:
        return {"retry-after": str(max(1, math.ceil(refusal.retry_after_s)))}
    return {}


def refusal_code(query: str, refusal: Refusal) -> CloseCode | None:
    """The code to close a session with in place of answering the status; `None` where the caller sees the status.

    A browser hides it from the page, which asks for the code with `refusal=close` (PROTOCOL.md, "Connecting").
    """
    return _CODES.get(refusal.status) if parse_qs(query).get("refusal") == ["close"] else None


_CODES: Final[Mapping[int, CloseCode]] = {
    401: CloseCode.UNAUTHORISED,
    403: CloseCode.UNAUTHORISED,
    429: CloseCode.OVERLOADED,
    503: CloseCode.OVERLOADED,
}
