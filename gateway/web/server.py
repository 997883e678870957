"""HTTP/1.1 and WebSocket over TCP or TLS: pages of one answer each, and sockets whose calls never block.

WebSocket itself (RFC 6455) is the sans-IO protocol of `websockets`; no message is held back for a slow listener, and no
listener waits for a slow peer.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final

import structlog
from websockets.http11 import Request
from websockets.server import ServerProtocol

from gateway.errors import BindError
from gateway.web.websocket import SILENT_LOG, WebSocket, WebSocketHandler
from quiclb.address import Address, format_address, normalise

MAX_HEAD_OCTETS: Final = 16_384
MAX_BODY_OCTETS: Final = 65_536
REQUEST_TIMEOUT_S: Final = 10.0
MAX_CONNECTIONS: Final = 2_048
MAX_MESSAGE_OCTETS: Final = 65_536
_READ_OCTETS: Final = 65_536
_log = structlog.get_logger("gateway.web")


@dataclass(frozen=True, slots=True)
class WebRequest:
    """A request as it came: `target` is path and query, header names are in lower case, `peer` is `host:port`."""

    method: str
    target: str
    headers: Mapping[str, str]
    peer: str
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class WebResponse:
    """An answer, after which the connection is closed; `headers` add to those every answer has, or replace them."""

    status: HTTPStatus
    text: str = ""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    octets: bytes | None = None
    """The body in place of `text`, where it is no text."""


Page = Callable[[WebRequest], WebResponse]
Upgrade = Callable[[WebRequest, WebSocket], WebSocketHandler | WebResponse]
"""Decides on a WebSocket: who listens to it, or why there is none."""


class WebServer:
    """Serves `pages` (GET, HEAD, POST) and `sockets` by path: `start` it, `stop_accepting` to drain it, `stop` at last.

    A head of more than 16 KiB, a body of more than 64 KiB, a WebSocket message of more than `max_message_octets`, a
    request slower than 10 s, and connections beyond `max_connections` are cut off.
    """

    def __init__(
        self,
        pages: Mapping[str, Page],
        sockets: Mapping[str, Upgrade],
        *,
        max_connections: int = MAX_CONNECTIONS,
        max_message_octets: int = MAX_MESSAGE_OCTETS,
    ) -> None:
        self._pages = pages
        self._sockets = sockets
        self._max_connections = max_connections
        self._max_message_octets = max_message_octets
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def connection_count(self) -> int:
        """How many connections there are."""
        return len(self._open)

    async def start(
        self, key: str, address: Address, tls: ssl.SSLContext | None, *, is_shared: bool = False
    ) -> Address:
        """Listen and return the address really bound; raises `BindError` that names the setting `key`.

        A port that `is_shared` takes several processes, among which the kernel deals connections out (SO_REUSEPORT).
        """
        try:
            self._server = await asyncio.start_server(
                self._connected,
                *address,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else REQUEST_TIMEOUT_S,
                limit=MAX_HEAD_OCTETS,
                reuse_port=is_shared,
            )
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            reason = "address already in use" if in_use else (error.strerror or str(error)).lower()
            raise BindError(f"{key}: cannot listen on {format_address(address)}: {reason}") from None
        bound = self._server.sockets[0].getsockname()
        return bound[0], bound[1]

    def stop_accepting(self) -> None:
        """Take no further connection; those there are go on."""
        if self._server is not None:
            self._server.close()

    async def stop(self) -> None:
        """Close; connections that are left are cut off."""
        if self._server is None:
            return
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._open) >= self._max_connections:
            writer.transport.abort()
            return
        self._open.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            writer.transport.abort()
        except asyncio.CancelledError:
            # only `stop` cancels; asyncio's streams take a task that ends cancelled for a failure
            writer.transport.abort()
        finally:
            self._open.discard(task)
            writer.close()
            try:
                await asyncio.wait_for(writer.wait_closed(), REQUEST_TIMEOUT_S)
            except OSError:
                pass
            except TimeoutError:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            head = await reader.readuntil(b"\r\n\r\n")
            request = _parse_head(head, format_address(normalise(writer.get_extra_info("peername")[:2])))
            if isinstance(request, WebRequest) and request.path in self._pages:
                request = await _with_body(request, reader)
        if isinstance(request, WebResponse):
            writer.write(_encode(request))
        elif request.path in self._sockets:
            await self._upgrade(head, request, reader, writer)
        else:
            writer.write(_encode(self._answer(request), has_body=request.method != "HEAD"))

    def _answer(self, request: WebRequest) -> WebResponse:
        page = self._pages.get(request.path)
        if page is None:
            return WebResponse(HTTPStatus.NOT_FOUND, "there is nothing on this path\n")
        if request.method not in ("GET", "HEAD", "POST"):
            return WebResponse(
                HTTPStatus.METHOD_NOT_ALLOWED, "only GET and POST are served\n", headers={"Allow": "GET, HEAD, POST"}
            )
        try:
            return page(replace(request, method="GET") if request.method == "HEAD" else request)
        except Exception:
            _log.exception("web_page_failed", path=request.path)
            return WebResponse(HTTPStatus.INTERNAL_SERVER_ERROR, "this page failed; the log says why\n")

    async def _upgrade(
        self, head: bytes, request: WebRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        protocol = ServerProtocol(max_size=self._max_message_octets, logger=SILENT_LOG)
        protocol.receive_data(head)
        event = next(iter(protocol.events_received()), None)
        if not isinstance(event, Request):
            writer.write(_encode(WebResponse(HTTPStatus.BAD_REQUEST, "this is no WebSocket handshake\n")))
            return
        response = protocol.accept(event)
        socket = WebSocket(protocol, writer, asyncio.get_running_loop())
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            protocol.send_response(response)
            socket.flush()
            return
        handler = self._sockets[request.path](request, socket)
        if isinstance(handler, WebResponse):
            writer.write(_encode(handler))
            return
        protocol.send_response(response)
        socket.open(handler)
        try:
            while data := await reader.read(_READ_OCTETS):
                socket.received(data)
        except OSError:
            pass
        finally:
            socket.detached()


def _parse_head(head: bytes, peer: str) -> WebRequest | WebResponse:
    try:
        line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, version = line.split(" ")
    except ValueError:
        return WebResponse(HTTPStatus.BAD_REQUEST, "this is HTTP/1.1\n")
    if version not in ("HTTP/1.1", "HTTP/1.0") or not target.startswith("/"):
        return WebResponse(HTTPStatus.BAD_REQUEST, "this is HTTP/1.1\n")
    return WebRequest(method, target, dict(_headers(lines)), peer)


def _headers(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            yield name.lower(), value.strip()


async def _with_body(request: WebRequest, reader: asyncio.StreamReader) -> WebRequest | WebResponse:
    length = request.headers.get("content-length", "0")
    if "transfer-encoding" in request.headers or not (length.isascii() and length.isdecimal()):
        return WebResponse(HTTPStatus.LENGTH_REQUIRED, "a body is announced by its length\n")
    if int(length) > MAX_BODY_OCTETS:
        return WebResponse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body holds at most {MAX_BODY_OCTETS} octets\n")
    body = await reader.readexactly(int(length))
    return WebRequest(request.method, request.target, request.headers, request.peer, body)


def _encode(response: WebResponse, *, has_body: bool = True) -> bytes:
    body = response.text.encode() if response.octets is None else response.octets
    headers = {
        "Content-Type": response.content_type,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Connection": "close",
        **response.headers,
    }
    if response.status is HTTPStatus.NOT_MODIFIED:
        del headers["Content-Length"]  # RFC 9110 section 8.6: it would be the length of what is not sent
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {response.status.value} {response.status.phrase}\r\n{lines}\r\n".encode()
    return head + body if has_body else head
