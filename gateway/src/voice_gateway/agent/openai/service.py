"""One service with OpenAI's API: its address, its key, its client, and what its errors mean."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from voice_gateway.errors import AgentError, ServiceError

_CONNECT_TIMEOUT_S: Final = 5.0
_LOCAL_KEY: Final = "none"
_CODE: Final = re.compile(r"[a-z0-9_]{1,64}")
_MEANINGS: Final = {
    400: "refused the request",
    401: "refused the key",
    403: "does not allow this to the key",
    404: "has no such model or path: see base_url and model",
    413: "refused the request as too long",
    422: "refused the request",
    429: "takes no more requests: its rate limit or the account's quota is reached",
}


@dataclass(frozen=True, slots=True)
class Service:
    """Where a service is, and how long it is waited for.

    `base_url` is as `http://127.0.0.1:8000/v1`, by default OpenAI's. The key is read from `key_file`, else from the
    environment variable `key_variable`; a service with a `base_url` of its own may do without. `timeout_s` limits the
    wait for the first and for each further piece of an answer. Requests that time out, find no connection, or are
    answered by 408, 409, 429 or 5xx are repeated up to `retries` times, after 0.5 s and longer; `patience_s` limits
    all that together, since a caller waits.
    """

    base_url: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    key_file: Path | None = None
    timeout_s: float = 10.0
    retries: int = 2
    patience_s: float = 20.0

    def read_key(self) -> str:
        """Return the key; raises `AgentError` where there is none."""
        if self.key_file is not None:
            try:
                key = self.key_file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is no text"
                raise AgentError(f"the key file {self.key_file} cannot be read: {reason}") from error
            if not key:
                raise AgentError(f"the key file {self.key_file} is empty")
        else:
            key = os.environ.get(self.key_variable, "").strip()
        if not key and self.base_url is None:
            raise AgentError(f"{self.key_variable} is not set: put the service's key into it, or name a key_file")
        return key or _LOCAL_KEY


class Client:
    """The service's client, with errors of one sentence that quotes neither the caller nor the key.

    `part` names what the service is used for, as "speech to text".
    """

    def __init__(self, service: Service | None, part: str) -> None:
        self._service = service or Service()
        self._part = part
        self._api: Any = None
        self._library: Any = None
        self._client: Any = None

    async def open(self) -> None:
        """Make the client; raises `AgentError` where the package or the key is missing."""
        try:
            self._library = import_module("openai")
        except ModuleNotFoundError as error:
            raise AgentError(f"{self._part} needs {error.name}: pip install 'voice-gateway[openai]'") from error
        service = self._service
        url = service.base_url
        if url is not None and urlsplit(url).scheme not in ("http", "https"):
            raise AgentError(f"base_url must be an http:// or https:// address, got {url!r}")
        self._client = self._library.AsyncOpenAI(
            api_key=service.read_key(),
            base_url=url,
            timeout=self._library.Timeout(service.timeout_s, connect=min(_CONNECT_TIMEOUT_S, service.timeout_s)),
            max_retries=service.retries,
        )

    async def close(self) -> None:
        """Close its connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    @property
    def api(self) -> Any:
        """The package's own client, an `AsyncOpenAI`; raises `AgentError` before `open`."""
        if self._client is None:
            raise AgentError(f"{self._part} is not open: call its open() in the agent's open()")
        return self._client

    async def answered(self, request: Awaitable[Any]) -> Any:
        """Wait for the beginning of an answer; raises `ServiceError`."""
        with self.translated(has_begun=False):
            async with asyncio.timeout(self._service.patience_s):
                return await request

    @contextmanager
    def translated(self, *, has_begun: bool = True) -> Iterator[None]:
        """Turn what the package raises into `ServiceError`s, before or after the answer's beginning."""
        try:
            yield
        except AgentError:
            raise
        except Exception as error:  # httpx's own come out of streams, as do those of parsers
            raise ServiceError(self._sentence(error, has_begun)) from error

    def _sentence(self, error: Exception, has_begun: bool) -> str:
        library = self._library
        where = f"{self._part} at {self.api.base_url.host}"
        if isinstance(error, library.APIStatusError):
            status = error.status_code
            code = error.code if isinstance(error.code, str) and _CODE.fullmatch(error.code) else None
            meaning = _MEANINGS.get(status, "failed" if status >= 500 else "refused the request")
            return f"{where} {meaning} ({status}{f' {code}' if code else ''})"
        if isinstance(error, library.APITimeoutError):
            return f"{where} did not answer within {self._service.timeout_s:g} s"
        if isinstance(error, TimeoutError):
            return f"{where} did not answer within {self._service.patience_s:g} s"
        if isinstance(error, library.APIConnectionError) and not has_begun:
            return f"{where} cannot be reached"
        if isinstance(error, library.APIError) and not isinstance(error, library.APIConnectionError):
            return f"{where} reported an error within its answer"
        return f"{where} broke off its answer ({type(error).__name__})"
