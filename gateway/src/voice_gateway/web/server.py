"""HTTP/1.1 and WebSocket over TCP or TLS: answers, whole or streamed, and sockets whose calls never block.

WebSocket itself (RFC 6455) is the sans-IO protocol of `websockets`; no message is held back for a slow listener, and no
listener waits for a slow peer.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
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
    encode_head,
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
from voice_gateway.web.path_table import PathTable
from voice_gateway.web.websocket import FRAMES_AT_ONCE, SILENT_LOG, SLICE_BYTES, WebSocket, WebSocketHandler

MAX_BODY_BYTES: Final = 65_536
REQUEST_TIMEOUT_S: Final = 10.0
MAX_CONNECTIONS: Final = 2_048
MAX_MESSAGE_BYTES: Final = 65_536
WRITE_TIMEOUT_S: Final = 30.0
"""How long a client of a `StreamedResponse` may take to read a part."""
PARTS_PER_TURN: Final = 3
"""Requests and slices of WebSocket frames that are handled in one turn of the event loop; each may cost a
millisecond."""
_READ_BYTES: Final = 65_536
_PART_BYTES: Final = 65_536
_log = LimitedLog(structlog.get_logger("voice_gateway.web"))


@dataclass(frozen=True, slots=True)
class WebRequest:
    """A request as it came: `target` is path and query, header names are in lower case, `peer` is `host:port`.

    `parameters` are the parts of the path that the template of a `Route` names.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    peer: str
    body: bytes = b""
    parameters: Mapping[str, str] = field(default_factory=dict)

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


@dataclass(frozen=True, slots=True)
class StreamedResponse:
    """An answer whose parts are sent as they come, until there is none or the client closes the connection.

    `headers` may name the `Content-Length`; without it the end of the connection is that of the body. A client that
    does not read for `WRITE_TIMEOUT_S` is cut off.
    """

    status: HTTPStatus
    parts: AsyncGenerator[bytes, None]
    content_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)


def download(content: bytes, content_type: str) -> StreamedResponse:
    """Return a large answer, which a client may take long to read; a `WebResponse` is cut off as slow requests are."""

    async def parts() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(content), _PART_BYTES):
            yield content[start : start + _PART_BYTES]

    return StreamedResponse(HTTPStatus.OK, parts(), content_type, {"Content-Length": str(len(content))})


Answer = WebResponse | StreamedResponse
Handler = Callable[[WebRequest], Answer | Awaitable[Answer]]
"""Answers a request, at once or later: one that waits may take any time, and is cancelled once the client goes."""


@dataclass(frozen=True, slots=True)
class Route:
    """What answers requests of one method; `{name}` in the path takes any one part of it, as `request.parameters`."""

    method: str
    path: str
    handle: Handler


Page = Callable[[WebRequest], WebResponse]
Upgrade = Callable[[WebRequest, WebSocket], WebSocketHandler | WebResponse]
"""Decides on a WebSocket: who listens to it, or why there is none."""


def connection_limiter(limits: ConnectionLimits) -> ConnectionLimiter[TcpConnection]:
    """Return what counts the connections of the servers it is given to, together."""
    return ConnectionLimiter(limits)


class WebServer:
    """Serves `pages` and `sockets` by path, and `routes`: `start` it, `stop_accepting` to drain it, `stop` at last.

    Pages take GET and HEAD, and so do routes of GET; another method is answered 405 with `Allow`. A head of more than
    16 KiB, a body of more than 64 KiB, a WebSocket message of more than `max_message_bytes`, and a request that is not
    there `request_timeout_s` after accept are cut off. Servers may share `limiter`, `counters` and `turns`. `hosts`
    says which hosts it may be asked for; `None` is any. `not_found` is the text of a 404.
    """

    def __init__(
        self,
        pages: Mapping[str, Page],
        sockets: Mapping[str, Upgrade],
        *,
        routes: Sequence[Route] = (),
        hosts: HostRule | None = None,
        limiter: ConnectionLimiter[TcpConnection] | None = None,
        counters: WebCounters | None = None,
        turns: Turns | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        not_found: str = "there is nothing on this path\n",
    ) -> None:
        everything = (*(Route("GET", path, page) for path, page in pages.items()), *routes)
        self._routes = PathTable((route.method, route.path, route.handle) for route in everything)
        self._sockets = sockets
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
        if isinstance(request, WebRequest):
            await self._upgrade(head, request, connection)
            return
        if isinstance(request, WebResponse):
            await self._send(connection, request)
            return
        found, handle = request
        is_head = found.method == "HEAD"
        answer = await self._answer(replace(found, method="GET") if is_head else found, handle, connection)
        if isinstance(answer, WebResponse):
            await self._send(connection, answer, has_body=not is_head)
        else:
            await self._stream(connection, answer, has_body=not is_head)

    async def _request(
        self, head: bytes, connection: TcpConnection
    ) -> WebRequest | tuple[WebRequest, Handler] | WebResponse:
        """Return a request for a WebSocket, one with what answers it, or why there is neither."""
        parsed = parse_head(head)
        if isinstance(parsed, BadRequest):
            return _refusal(parsed)
        if self._hosts is not None and (refusal := self._hosts.refusal(parsed.fields)):
            return _refusal(refusal)
        request = WebRequest(parsed.method, parsed.target, parsed.fields, format_address(connection.peer))
        if request.path in self._sockets:
            return request if request.method == "GET" else _method_not_allowed("GET")
        found = self._routes.find(request.path)
        if found is None:
            return WebResponse(HTTPStatus.NOT_FOUND, self._not_found)
        handle = found.handlers.get("GET" if request.method == "HEAD" else request.method)
        if handle is None:
            gets = [method for method in ("GET", "HEAD") if "GET" in found.handlers]
            return _method_not_allowed(*gets, *(method for method in found.handlers if method != "GET"))
        length = body_length(parsed.fields, MAX_BODY_BYTES)
        if isinstance(length, BadRequest):
            return _refusal(length)
        body = await connection.reader.readexactly(length) if length else b""
        return replace(request, body=body, parameters=found.parameters), handle

    async def _answer(self, request: WebRequest, handle: Handler, connection: TcpConnection) -> Answer:
        try:
            answer = handle(request)
            if inspect.isawaitable(answer):
                connection.establish()  # its request is whole, and what it waits for may take longer than one
                answer = await _while_open(connection.reader, answer)
        except _ClientGone:
            raise
        except Exception:
            self.counters.connections.failed += 1
            _log.exception("web_page_failed", path=request.path)
            return WebResponse(HTTPStatus.INTERNAL_SERVER_ERROR, "this page failed; the log says why\n")
        return answer

    async def _send(self, connection: TcpConnection, response: WebResponse, *, has_body: bool = True) -> None:
        self.counters.responses[response.status.value] += 1
        await connection.respond(_encode(response, has_body=has_body))

    async def _stream(self, connection: TcpConnection, response: StreamedResponse, *, has_body: bool) -> None:
        """Send the parts; stop once the client has closed its side."""
        self.counters.responses[response.status.value] += 1
        async with aclosing(response.parts) as parts:
            connection.establish()
            connection.writer.transport.set_write_buffer_limits(0)  # a part that is written has left the process
            fields = {"Content-Type": response.content_type, **response.headers}
            await _write(connection, encode_head(response.status, fields))
            if not has_body:
                return
            sending = asyncio.ensure_future(_write_each(connection, parts))
            closed = asyncio.ensure_future(_until_closed(connection.reader))
            try:
                await asyncio.wait((sending, closed), return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
            finally:
                for task in (sending, closed):
                    task.cancel()
                    with suppress(asyncio.CancelledError, OSError, TimeoutError):
                        await task

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


async def _write(connection: TcpConnection, part: bytes) -> None:
    connection.writer.write(part)
    async with asyncio.timeout(WRITE_TIMEOUT_S):
        await connection.writer.drain()


async def _write_each(connection: TcpConnection, parts: AsyncIterator[bytes]) -> None:
    async for part in parts:
        await _write(connection, part)


class _ClientGone(EOFError):  # noqa: N818 - it says what happened
    """The client has closed its side before it had an answer."""


async def _while_open(reader: asyncio.StreamReader, answer: Awaitable[Answer]) -> Answer:
    """Return the answer; raises `_ClientGone`, and cancels what makes it, once the client has closed its side."""
    making, closed = asyncio.ensure_future(answer), asyncio.ensure_future(_until_closed(reader))
    try:
        await asyncio.wait((making, closed), return_when=asyncio.FIRST_COMPLETED)
        if not making.done():
            raise _ClientGone
        return making.result()
    finally:
        for task in (making, closed):
            task.cancel()
        await asyncio.gather(making, closed, return_exceptions=True)


async def _until_closed(reader: asyncio.StreamReader) -> None:
    """Return once the client has closed its side; what it sends meanwhile is dropped."""
    while await reader.read(_READ_BYTES):
        pass


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
