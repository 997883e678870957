"""The thread that has a host's sockets, so that an agent which blocks its event loop does not silence the host."""

from __future__ import annotations

import asyncio
import hmac
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import structlog
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from voice_gateway.errors import BindError
from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.messages import (
    HOST_PATH,
    HOST_PROTOCOL_VERSION,
    MAX_MESSAGE_BYTES,
    Open,
    Refused,
    Watch,
    decode_from_worker,
    encode_control,
)
from voice_gateway.hosts.process.calls import HostCalls
from voice_gateway.hosts.process.connection import (
    MAX_UNREAD_BYTES,
    MESSAGE_COST_BYTES,
    WorkerConnection,
    keep_alive,
    peer_of,
)
from voice_gateway.hosts.process.lag import PROBE_INTERVAL_S
from voice_gateway.hosts.process.listening import HostListener
from voice_gateway.hosts.process.metrics import exposition
from voicelink.wire import Malformed

LOAD_INTERVAL_S: Final = 0.25
OPENING_TIMEOUT_S: Final = 5.0
_LAST_WORDS_S: Final = 0.05
_SILENT: Final = logging.Logger("voice_gateway.hosts", logging.CRITICAL)
_log = structlog.get_logger("voice_gateway.hosts")


class SocketThread:
    """Takes workers' connections, and gives what they say to `calls` on the agent's loop, in order."""

    def __init__(self, calls: HostCalls, address: HostAddress, credentials: HostCredentials) -> None:
        self._calls = calls
        self._token = credentials.token
        self._listener = HostListener(address, credentials)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Listen; raises `BindError`."""
        started: asyncio.Future[None] = self._calls.loop.create_future()

        def answer(error: BindError | None) -> None:
            if started.done():
                return
            if error is None:
                started.set_result(None)
            else:
                started.set_exception(error)

        self._thread = threading.Thread(target=self._run, args=(answer,), name="hosts", daemon=True)
        self._thread.start()
        await started

    def stop_listening(self) -> None:
        self._loop.call_soon_threadsafe(self._listener.close)

    async def stop(self) -> None:
        """Send what waits, close all connections, and end."""
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    # What follows runs in the thread

    def _run(self, on_started: Callable[[BindError | None], None]) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve(on_started))
        finally:
            self._loop.close()

    async def _serve(self, on_started: Callable[[BindError | None], None]) -> None:
        try:
            await self._listener.open(
                self._connected,
                process_request=self._process_request,
                compression=None,
                max_size=MAX_MESSAGE_BYTES,
                ping_interval=None,
                close_timeout=1.0,
                logger=_SILENT,
            )
        except BindError as error:
            self._calls.loop.call_soon_threadsafe(on_started, error)
            return
        self._calls.loop.call_soon_threadsafe(on_started, None)
        probing = asyncio.create_task(self._probe())
        await self._stop.wait()
        self._listener.close()
        await asyncio.sleep(_LAST_WORDS_S)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.wait([probing, *tasks], timeout=1.0)

    async def _probe(self) -> None:
        while True:
            self._calls.lag.probe()
            await asyncio.sleep(PROBE_INTERVAL_S)

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        path, calls = request.path.partition("?")[0], self._calls
        if path == "/healthz":
            return connection.respond(HTTPStatus.OK, "healthy\n")
        if path == "/readyz":
            if calls.is_draining:
                return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "draining\n")
            return connection.respond(HTTPStatus.OK, "ready\n")
        if self._token is not None:
            given = "".join(request.headers.get_all("Authorization")).removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(errors="surrogateescape"), self._token.encode()):
                _log.warning("host_token_wrong", peer=peer_of(connection))
                return connection.respond(HTTPStatus.UNAUTHORIZED, "the token is not this host's\n")
        if path == "/metrics":
            return connection.respond(HTTPStatus.OK, exposition(calls.counters, calls.load()))
        if path != HOST_PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, f"workers connect to {HOST_PATH}\n")
        return None

    async def _connected(self, socket: ServerConnection) -> None:
        keep_alive(socket)
        connection = WorkerConnection(socket, self._loop)
        writing = asyncio.create_task(connection.write())
        try:
            async with asyncio.timeout(OPENING_TIMEOUT_S):
                first = await socket.recv()
            await self._first(connection, first if isinstance(first, bytes) else b"")
        except (ConnectionClosed, TimeoutError):
            pass
        finally:
            with suppress(RuntimeError):  # the agent's loop has ended
                self._calls.loop.call_soon_threadsafe(self._calls.close, connection)
            connection.close_soon()  # behind what was sent
            with suppress(ConnectionClosed):
                await writing

    async def _first(self, connection: WorkerConnection, raw: bytes) -> None:
        calls = self._calls
        decoded = decode_from_worker(raw, calls.audio_format)
        first = decoded[0] if isinstance(decoded, list) and decoded else decoded
        if not isinstance(first, Watch | Open):
            why = first.reason if isinstance(first, Malformed) else "the first message is watch or open"
            connection.send(encode_control([Refused(reason=why, is_final=True)]))
        elif first.version != HOST_PROTOCOL_VERSION:
            reason = f"this host speaks version {HOST_PROTOCOL_VERSION} of the host protocol, got {first.version}"
            connection.send(encode_control([Refused(reason=reason, is_final=True)]))
        elif isinstance(first, Watch):
            await self._watched(connection)
        elif calls.is_draining:
            connection.send(encode_control([Refused(reason="this host is going away")]))
        else:
            calls.loop.call_soon_threadsafe(calls.open, first, connection)
            await self._called(connection)

    async def _watched(self, connection: WorkerConnection) -> None:
        connection.send(encode_control([self._calls.hello()]))
        while not connection.is_closed and not self._stop.is_set():
            connection.send(encode_control([self._calls.load()]))
            with suppress(TimeoutError):
                async with asyncio.timeout(LOAD_INTERVAL_S):
                    await connection.socket.wait_closed()
                    return

    async def _called(self, connection: WorkerConnection) -> None:
        loop, audio_format = self._calls.loop, self._calls.audio_format
        async for raw in connection.socket:
            decoded = decode_from_worker(raw if isinstance(raw, bytes) else b"", audio_format)
            if isinstance(decoded, Malformed):
                connection.send(encode_control([Refused(reason=decoded.reason, is_final=True)]))
                return
            cost = len(raw) + MESSAGE_COST_BYTES
            connection.received_bytes += cost
            loop.call_soon_threadsafe(connection.handle, decoded, cost)
            while connection.received_bytes - connection.handled_bytes > MAX_UNREAD_BYTES:  # noqa: ASYNC110 - the other loop has no event for this one
                await asyncio.sleep(0.05)
