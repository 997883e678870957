"""How a caller shows its access token, whatever it connects by."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs


def access_token(headers: Mapping[str, str], query: str) -> str | None:
    """Return the token of `Authorization: Bearer`, else the query's `token`; names of `headers` are in lower case."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials:
        return credentials.strip()
    return next(iter(parse_qs(query).get("token", ())), None)
