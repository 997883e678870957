"""How a caller learns that its session is refused, where its browser hides the status of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from gateway.wire import CloseCode

_CODES: Final[Mapping[int, CloseCode]] = {
    HTTPStatus.UNAUTHORIZED: CloseCode.UNAUTHORISED,
    HTTPStatus.FORBIDDEN: CloseCode.UNAUTHORISED,
    HTTPStatus.TOO_MANY_REQUESTS: CloseCode.OVERLOADED,
    HTTPStatus.SERVICE_UNAVAILABLE: CloseCode.OVERLOADED,
}


def refusal_code(query: str, status: int) -> CloseCode | None:
    """The code to close a session with in place of answering `status`; `None` where the caller sees the status.

    A caller that does not asks for it with `refusal=close` (PROTOCOL.md, "Connecting").
    """
    return _CODES.get(status) if parse_qs(query).get("refusal") == ["close"] else None
