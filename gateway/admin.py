"""The operator's HTTP interface: metrics, health, readiness and sessions. Read-only, without words or secrets."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from gateway.errors import BindError
from gateway.session.manager import SessionManager
from quiclb.address import Address, format_address

REQUEST_TIMEOUT_S: Final = 5.0
MAX_REQUEST_OCTETS: Final = 8_192
MAX_CONNECTIONS: Final = 32
_log = structlog.get_logger("gateway.admin")


@dataclass(frozen=True, slots=True)
class Page:
    """An answer to `GET`."""

    status: HTTPStatus
    content_type: str
    body: bytes


Pages = Mapping[str, Callable[[], Page]]


def worker_pages(sessions: SessionManager, registry: CollectorRegistry) -> Pages:
    """Return what a worker shows, by path."""
    return {
        "/metrics": lambda: Page(HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry)),
        "/healthz": lambda: _text(HTTPStatus.OK, "alive"),
        "/readyz": lambda: (
            _text(HTTPStatus.SERVICE_UNAVAILABLE, "draining") if sessions.is_draining else _text(HTTPStatus.OK, "ready")
        ),
        "/sessions": lambda: _json(
            {
                "worker": sessions.worker,
                "draining": sessions.is_draining,
                "sessions": [snapshot.as_json() for snapshot in sessions.snapshot()],
                "ended": [snapshot.as_json() for snapshot in sessions.ended()],
            }
        ),
    }


class AdminServer:
    """Answers `GET` of the pages, one request a connection; `start` it, and `stop` it in the end.

    A request of more than 8 KiB, one that takes longer than 5 s, and connections beyond 32 at once are cut off.
    """

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, address: Address) -> Address:
        """Listen and return the address really bound; raises `BindError`."""
        try:
            self._server = await asyncio.start_server(self._connected, *address, limit=MAX_REQUEST_OCTETS)
        except OSError as error:
            # asyncio puts the address in its own words into `strerror`
            reason = (
                "address already in use" if error.errno == errno.EADDRINUSE else (error.strerror or str(error)).lower()
            )
            raise BindError(f"admin.listen: cannot listen on {format_address(address)}: {reason}") from None
        bound = self._server.sockets[0].getsockname()
        return bound[0], bound[1]

    async def stop(self) -> None:
        """Close; requests under way are cut off."""
        if self._server is None:
            return
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(_encode(self._answer(request)))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            writer.transport.abort()
        except BaseException:
            writer.transport.abort()
            raise

    def _answer(self, request: bytes) -> Page:
        method, _, rest = request.partition(b"\r\n")[0].partition(b" ")
        target, _, version = rest.partition(b" ")
        if not version.startswith(b"HTTP/1."):
            return _text(HTTPStatus.BAD_REQUEST, "this is HTTP/1.1")
        if method != b"GET":
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is served")
        page = self._pages.get(target.partition(b"?")[0].decode("latin-1"))
        if page is None:
            return _text(HTTPStatus.NOT_FOUND, "there are: " + " ".join(self._pages))
        try:
            return page()
        except Exception:
            _log.exception("admin_page_failed", path=target.decode("latin-1"))
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, "this page failed; the log says why")


def _text(status: HTTPStatus, text: str) -> Page:
    return Page(status, "text/plain; charset=utf-8", f"{text}\n".encode())


def _json(document: Mapping[str, Any]) -> Page:
    return Page(HTTPStatus.OK, "application/json", json.dumps(document).encode())


def _encode(page: Page) -> bytes:
    allow = "Allow: GET\r\n" if page.status is HTTPStatus.METHOD_NOT_ALLOWED else ""
    head = (
        f"HTTP/1.1 {page.status.value} {page.status.phrase}\r\nContent-Type: {page.content_type}\r\n"
        f"Content-Length: {len(page.body)}\r\n{allow}Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + page.body
