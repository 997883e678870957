"""The access token a caller shows, the same for all connections of a call or a fresh one for each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from quiclb.errors import ConfigError
from quiclb.settings import documents
from voice_client.errors import AccessRefused, ClientError, InvalidSetting

TokenSource = Callable[[], str | Awaitable[str]]
"""Gives a token whenever the call connects: tokens may end sooner than calls."""


class AccessToken:
    """`headers` are for the request that opens a session. Raises `InvalidSetting` for what cannot be a token."""

    def __init__(self, token: str | TokenSource | None) -> None:
        self._token = _checked(token) if isinstance(token, str) else token
        self._asked: asyncio.Future[str] | None = None

    async def headers(self) -> dict[str, str]:
        """Return the header fields; raises `AccessRefused` where there is no token to be had."""
        if self._token is None:
            return {}
        if isinstance(self._token, str):
            return {"authorization": f"Bearer {self._token}"}
        try:
            return {"authorization": f"Bearer {_checked(await self._fresh(self._token))}"}
        except ClientError as error:
            raise AccessRefused(f"there is no access token: {error}") from None
        except Exception as error:  # raised by the application's token source
            raise AccessRefused(f"there is no access token: {type(error).__name__}") from error

    async def _fresh(self, source: TokenSource) -> str:
        """Ask the source; an attempt to connect that is given up leaves its question to the next one."""
        if self._asked is None:
            answer = source()
            if isinstance(answer, str):
                return answer
            self._asked = asyncio.ensure_future(answer)
            self._asked.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
        asked = self._asked
        try:
            return await asyncio.shield(asked)
        finally:
            if asked.done():
                self._asked = None


def token_file(path: Path) -> str:
    """Read a token; raises `InvalidSetting`."""
    try:
        text = documents.read_text(path).strip()
    except ConfigError as error:
        raise InvalidSetting(f"cannot read the token file {path}: {error}") from None
    return _checked(text)


def _checked(token: str) -> str:
    if not (token.isascii() and token.isprintable() and " " not in token and token):
        raise InvalidSetting("the access token must consist of printable ASCII characters without spaces")
    return token
