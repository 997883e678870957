"""HTTP/1.1 and WebSocket over TCP or TLS: pages of one answer each, and sockets whose calls never block.

WebSocket itself (RFC 6455) is the sans-IO protocol of `websockets`; no message is held back for a slow listener, and no
listener waits for a slow peer.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final

import structlog
from websockets.http11 import Request
from websockets.server import ServerProtocol

from quiclb.http.connection_limiter import ConnectionLimiter, ConnectionLimits
from quiclb.http.http1 import (
    MAX_HEAD_BYTES,
    BadRequest,
    HostRule,
    body_length,
    encode_response,
    parse_head,
    split_target,
)
from quiclb.http.listener import TcpConnection, TcpListener, Turns
from quiclb.logs.limits import LimitedLog
from quiclb.net.address import Address, format_address
from voice_gateway.errors import BindError
from voice_gateway.net.network import network_of
from voice_gateway.web.counters import WebCounters
from voice_gateway.web.websocket import FRAMES_AT_ONCE, SILENT_LOG, SLICE_BYTES, WebSocket, WebSocketHandler

MAX_BODY_BYTES: Final = 65_536
REQUEST_TIMEOUT_S: Final = 10.0
MAX_CONNECTIONS: Final = 2_048
MAX_MESSAGE_BYTES: Final = 65_536
PARTS_PER_TURN: Final = 3
"""Requests and slices of WebSocket frames that are handled in one turn of the event loop; each may cost a
millisecond."""
_READ_BYTES: Final = 65_536
_log = LimitedLog(structlog.get_logger("voice_gateway.web"))


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
        return split_target(self.target)[0]

    @property
    def query(self) -> str:
        return split_target(self.target)[1]


@dataclass(frozen=True, slots=True)
class WebResponse:
    """An answer, after which the connection is closed; `headers` add to those every answer has, or replace them."""

    status: HTTPStatus
    text: str = ""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    """The body in place of `text`, where it is no text."""


Page = Callable[[WebRequest], WebResponse]
Upgrade = Callable[[WebRequest, WebSocket], WebSocketHandler | WebResponse]
"""Decides on a WebSocket: who listens to it, or why there is none."""


def connection_limiter(limits: ConnectionLimits) -> ConnectionLimiter[TcpConnection]:
    """Return what counts the connections of the servers it is given to, together."""
    return ConnectionLimiter(limits)


class WebServer:
    """Serves `pages` and `sockets` by path: `start` it, `stop_accepting` to drain it, `stop` at last.

    Pages take GET and HEAD, those whose path is in `posts` POST too; anything else is answered 405 with `Allow`. A head
    of more than 16 KiB, a body of more than 64 KiB, a WebSocket message of more than `max_message_bytes`, and a
    request that is not there `request_timeout_s` after accept are cut off. Servers may share `limiter`, `counters` and
    `turns`. `hosts` says which hosts it may be asked for; `None` is any. `not_found` is the text of a 404.
    """

    def __init__(
        self,
        pages: Mapping[str, Page],
        sockets: Mapping[str, Upgrade],
        *,
        posts: Collection[str] = (),
        hosts: HostRule | None = None,
        limiter: ConnectionLimiter[TcpConnection] | None = None,
        counters: WebCounters | None = None,
        turns: Turns | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        not_found: str = "there is nothing on this path\n",
    ) -> None:
        self._pages = pages
        self._sockets = sockets
        self._posts = posts
        self._hosts = hosts
        self._max_message_bytes = max_message_bytes
        self._not_found = not_found
        self.counters = counters or WebCounters()
        self._turns = turns or Turns(PARTS_PER_TURN)
        if limiter is None:  # an empty one is false
            limiter = connection_limiter(ConnectionLimits.share(MAX_CONNECTIONS))
        self._listener = TcpListener(
            self._serve,
            limiter,
            self.counters.connections,
            max_line_bytes=MAX_HEAD_BYTES,
            request_timeout_s=request_timeout_s,
            network_of=network_of,
            on_failure=lambda defect: _log.exception("web_connection_failed"),
        )

    @property
    def connection_count(self) -> int:
        return self._listener.connection_count

    async def start(
        self,
        key: str,
        address: Address,
        tls: ssl.SSLContext | None,
        *,
        is_shared: bool = False,
        inherited: socket.socket | None = None,
    ) -> Address:
        """Listen and return the address really bound; raises `BindError` that names the setting `key`.

        A port that `is_shared` takes several processes, among which the kernel deals connections out (SO_REUSEPORT).
        With an `inherited` socket, which listens already, nothing is bound.
        """
        try:
            return await self._listener.start(address, tls, is_shared=is_shared, inherited=inherited)
        except OSError as error:
            raise cannot_listen(key, address, error) from None

    def stop_accepting(self) -> None:
        """Take no further connection; those there are go on."""
        self._listener.stop_accepting()

    async def stop(self) -> None:
        """Close; connections that are left are cut off."""
        await self._listener.stop()

    async def _serve(self, connection: TcpConnection) -> None:
        head = await connection.reader.readuntil(b"\r\n\r\n")
        await self._turns.wait(connection.network)
        request = await self._request(head, connection)
        if isinstance(request, WebRequest) and request.path in self._sockets:
            await self._upgrade(head, request, connection)
            return
        is_head = isinstance(request, WebRequest) and request.method == "HEAD"
        answer = request if isinstance(request, WebResponse) else self._answer(request)
        await self._send(connection, answer, has_body=not is_head)

    async def _request(self, head: bytes, connection: TcpConnection) -> WebRequest | WebResponse:
        parsed = parse_head(head)
        if isinstance(parsed, BadRequest):
            return _refusal(parsed)
        if self._hosts is not None and (refusal := self._hosts.refusal(parsed.fields)):
            return _refusal(refusal)
        request = WebRequest(parsed.method, parsed.target, parsed.fields, format_address(connection.peer))
        if request.path in self._sockets:
            return request if request.method == "GET" else _method_not_allowed("GET")
        if request.path not in self._pages:
            return WebResponse(HTTPStatus.NOT_FOUND, self._not_found)
        allowed = ("GET", "HEAD", "POST") if request.path in self._posts else ("GET", "HEAD")
        if request.method not in allowed:
            return _method_not_allowed(*allowed)
        length = body_length(parsed.fields, MAX_BODY_BYTES)
        if isinstance(length, BadRequest):
            return _refusal(length)
        return replace(request, body=await connection.reader.readexactly(length)) if length else request

    def _answer(self, request: WebRequest) -> WebResponse:
        try:
            return self._pages[request.path](replace(request, method="GET") if request.method == "HEAD" else request)
        except Exception:
            self.counters.connections.failed += 1
            _log.exception("web_page_failed", path=request.path)
            return WebResponse(HTTPStatus.INTERNAL_SERVER_ERROR, "this page failed; the log says why\n")

    async def _send(self, connection: TcpConnection, response: WebResponse, *, has_body: bool = True) -> None:
        self.counters.responses[response.status.value] += 1
        await connection.respond(_encode(response, has_body=has_body))

    async def _upgrade(self, head: bytes, request: WebRequest, connection: TcpConnection) -> None:
        protocol = ServerProtocol(max_size=self._max_message_bytes, logger=SILENT_LOG)
        protocol.receive_data(head)
        event = next(iter(protocol.events_received()), None)
        if not isinstance(event, Request):
            await self._send(connection, WebResponse(HTTPStatus.BAD_REQUEST, "this is no WebSocket handshake\n"))
            return
        response = protocol.accept(event)
        socket = WebSocket(protocol, connection.writer, asyncio.get_running_loop(), self._cut_off)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self.counters.responses[response.status_code] += 1
            protocol.send_response(response)
            socket.flush()
            return
        try:
            handler = self._sockets[request.path](request, socket)
        except Exception:
            self.counters.connections.failed += 1
            _log.exception("web_socket_failed", path=request.path)
            handler = WebResponse(HTTPStatus.INTERNAL_SERVER_ERROR, "this socket failed; the log says why\n")
        if isinstance(handler, WebResponse):
            await self._send(connection, handler)
            return
        self.counters.responses[response.status_code] += 1
        protocol.send_response(response)
        connection.establish()
        socket.open(handler)
        try:
            await self._feed(socket, connection)
        except OSError:
            pass
        finally:
            socket.detached()
        if socket.is_cut_off:
            await connection.abort_after_linger()

    async def _feed(self, socket: WebSocket, connection: TcpConnection) -> None:
        """Give a WebSocket what arrives, few frames in each turn of the event loop."""
        frames = 0
        while data := await connection.reader.read(_READ_BYTES):
            for start in range(0, len(data), SLICE_BYTES):
                frames += socket.received(data[start : start + SLICE_BYTES])
                if socket.is_cut_off:
                    return
                if frames >= FRAMES_AT_ONCE:
                    frames = 0
                    await self._turns.wait(connection.network)
            if len(data) > MAX_HEAD_BYTES:
                await asyncio.sleep(0)  # `read` waits for nothing while more is there

    def _cut_off(self, cause: str) -> None:
        self.counters.websockets_cut_off[cause] += 1


def cannot_listen(key: str, address: Address, error: OSError) -> BindError:
    """Return the error that names the setting `key` and the reason."""
    in_use = error.errno == errno.EADDRINUSE
    reason = "address already in use" if in_use else (error.strerror or str(error)).lower()
    return BindError(f"{key}: cannot listen on {format_address(address)}: {reason}")


def _refusal(fault: BadRequest) -> WebResponse:
    return WebResponse(fault.status, f"{fault.reason}\n")


def _method_not_allowed(*methods: str) -> WebResponse:
    """RFC 9110 section 15.5.6: a 405 names the methods there are."""
    return WebResponse(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"only {' and '.join(methods)} are served here\n"
        if len(methods) > 1
        else f"only {methods[0]} is served here\n",
        headers={"Allow": ", ".join(methods)},
    )


def _encode(response: WebResponse, *, has_body: bool = True) -> bytes:
    body = response.text.encode() if response.content is None else response.content
    fields = {"Content-Type": response.content_type, **response.headers}
    return encode_response(response.status, fields, body, has_body=has_body)
