"""Listens for workers in a thread of its own, so that an agent which blocks its event loop does not silence the host.

The agent's conversations run on the event loop of the main thread. Messages cross between the two loops whole and
in order.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import socket
import stat
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from voice_gateway.agent.base import Agent
from voice_gateway.errors import BindError
from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.messages import (
    HOST_PATH,
    HOST_PROTOCOL_VERSION,
    MAX_MESSAGE_BYTES,
    FromWorker,
    Hello,
    Load,
    Open,
    Refused,
    Watch,
    decode_from_worker,
    encode_control,
)
from voice_gateway.hosts.process.lag import PROBE_INTERVAL_S, LoopLag
from voice_gateway.hosts.process.served_call import CallFailure, ServedCall
from voicelink.wire import Malformed

LOAD_INTERVAL_S: Final = 0.25
OPENING_TIMEOUT_S: Final = 5.0
MAX_UNREAD_BYTES: Final = 4 << 20
"""What one call may have waiting for a blocked agent; then the host reads no more of it."""
MESSAGE_COST_BYTES: Final = 512
"""What a message that waits costs besides its bytes."""
MAX_UNSENT_BYTES: Final = 16 << 20
"""What may wait for a worker that does not read; then its connection is closed."""
CLOSE_TIMEOUT_S: Final = 2.0
"""How long a connection that is closed may take to send what waits."""
KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""A worker whose machine is gone is noticed after 25 s: until then its calls stay open here."""
SOCKET_MODE: Final = 0o660
_SILENT: Final = logging.Logger("voice_gateway.hosts", logging.CRITICAL)
_log = structlog.get_logger("voice_gateway.hosts")


@dataclass(slots=True)
class HostCounters:
    """What happened in this host."""

    opened: int = 0
    failed: int = 0
    fenced: int = 0
    """Calls that were taken from an older epoch."""


class HostServer:
    """Make it on the agent's event loop, then `start`; `drain` and `stop` are for that loop too."""

    def __init__(self, agent: Agent, address: HostAddress, credentials: HostCredentials) -> None:
        self.counters = HostCounters()
        self.is_draining = False
        self._agent = agent
        self._address = address
        self._credentials = credentials
        self._loop = asyncio.get_running_loop()
        self._lag = LoopLag(self._loop)
        self._calls: dict[str, tuple[ServedCall, _Connection]] = {}
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._thread: threading.Thread | None = None
        self._io = _IoThread(self)

    @property
    def call_count(self) -> int:
        """How many calls are open."""
        return len(self._calls)

    @property
    def lag_ms(self) -> float:
        """How far the agent's event loop is behind."""
        return round(self._lag.lag_s * 1000, 1)

    async def start(self) -> None:
        """Listen; raises `BindError`."""
        started: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._io.run, args=(started, self._loop), name="hosts", daemon=True)
        self._thread.start()
        await started

    async def drain(self, timeout_s: float) -> None:
        """Take no further calls, tell workers, and return once all have gone elsewhere, or after the timeout."""
        self.is_draining = True
        self._io.stop_listening()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_empty.wait(), timeout_s)

    async def stop(self) -> None:
        """Close all calls and connections."""
        for call, connection in list(self._calls.values()):
            call.close()
            connection.close_soon()
        self._calls.clear()
        self._io.stop()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    # What the other thread asks of the agent's loop

    def open_call(self, opened: Open, connection: _Connection) -> None:
        """Begin a call; one of a lower epoch ends, one of the same or a higher epoch stays."""
        former = self._calls.get(opened.session)
        if former is not None and former[0].epoch >= opened.epoch:
            reason = f"the session is open under epoch {former[0].epoch}, got {opened.epoch}"
            connection.send(encode_control([Refused(reason=reason, is_final=True)]))
            connection.close_soon()
            return
        if former is not None:
            self.counters.fenced += 1
            former[0].close()
            former[1].close_soon()
        self.counters.opened += 1
        self._is_empty.clear()
        connection.send(encode_control([self.hello()]))
        call = ServedCall(self._agent, opened, connection.send, self._failed)
        self._calls[opened.session] = (call, connection)
        connection.call = call
        _log.debug("host_call_opened", session=opened.session, epoch=opened.epoch, turn=opened.turn)

    def close_call(self, connection: _Connection) -> None:
        """The worker's connection of a call has ended."""
        call = connection.call
        if call is None:
            return
        call.close()
        if self._calls.get(call.session, (None,))[0] is call:
            del self._calls[call.session]
            _log.debug("host_call_closed", session=call.session, epoch=call.epoch)
        if not self._calls:
            self._is_empty.set()

    def hello(self) -> Hello:
        """Say which agent this is."""
        agent = self._agent
        return Hello(
            agent=agent.name,
            input_rate_hz=agent.input_rate_hz,
            output_rate_hz=agent.output_rate_hz,
            audio_format=agent.audio_format.value,
        )

    def load(self) -> Load:
        """Say how busy it is; also while the agent's loop is blocked."""
        return Load(
            calls=self.call_count,
            lag_ms=self.lag_ms,
            is_draining=self.is_draining,
            malformed_messages=dict(self._agent.malformed_messages),
        )

    @property
    def agent_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def _failed(self, failure: CallFailure) -> None:
        self.counters.failed += 1
        _log.error("host_call_failed", session=failure.session, error=failure.error)


class _IoThread:
    """The event loop of sockets."""

    def __init__(self, host: HostServer) -> None:
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._server: Server | None = None
        self._path_id: tuple[int, int] | None = None

    def run(self, started: asyncio.Future[None], agent_loop: asyncio.AbstractEventLoop) -> None:
        def answer(error: BaseException | None) -> None:
            if not started.done():
                if error is None:
                    started.set_result(None)
                else:
                    started.set_exception(error)

        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve(lambda error: agent_loop.call_soon_threadsafe(answer, error)))
        finally:
            self._loop.close()

    def stop_listening(self) -> None:
        self._loop.call_soon_threadsafe(self._stop_listening)

    def stop(self) -> None:
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._stop.set)

    async def _serve(self, on_started: Callable[[BaseException | None], object]) -> None:
        try:
            self._server = await self._listen()
        except (OSError, BindError) as error:
            address = self._host._address
            reason = str(error) if isinstance(error, BindError) else f"cannot listen at {address}: {_reason(error)}"
            on_started(BindError(reason))
            return
        on_started(None)
        probing = asyncio.create_task(self._probe())
        await self._stop.wait()
        self._stop_listening()
        await asyncio.sleep(0.05)  # what was sent last goes out
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.wait([probing, *tasks], timeout=1.0)

    async def _listen(self) -> Server:
        host, address = self._host, self._host._address
        options: dict[str, Any] = {
            "process_request": self._process_request,
            "compression": None,
            "max_size": MAX_MESSAGE_BYTES,
            "ping_interval": None,
            "close_timeout": 1.0,
            "logger": _SILENT,
        }
        if address.path is None:
            tls = host._credentials.tls
            return await serve(self._connected, address.host, address.port, ssl=tls, **options)
        _remove_stale(address)
        before = os.umask(0o777 & ~SOCKET_MODE)
        try:
            server = await unix_serve(self._connected, str(address.path), **options)
        finally:
            os.umask(before)
        found = os.stat(address.path)
        self._path_id = (found.st_dev, found.st_ino)
        return server

    def _stop_listening(self) -> None:
        """Free the address for the next host; connections stay."""
        if self._server is not None:
            self._server.close(close_connections=False)
        path, self_id, self._path_id = self._host._address.path, self._path_id, None
        if path is not None and self_id is not None:
            with suppress(OSError):
                found = os.stat(path)
                if (found.st_dev, found.st_ino) == self_id:
                    path.unlink()

    async def _probe(self) -> None:
        while True:
            self._host._lag.probe()
            await asyncio.sleep(PROBE_INTERVAL_S)

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        path, host = request.path.partition("?")[0], self._host
        if path == "/healthz":
            return connection.respond(HTTPStatus.OK, "healthy\n")
        if path == "/readyz":
            if host.is_draining:
                return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "draining\n")
            return connection.respond(HTTPStatus.OK, "ready\n")
        token = host._credentials.token
        if token is not None:
            given = "".join(request.headers.get_all("Authorization")).removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode()):
                _log.warning("host_token_wrong", peer=_peer(connection))
                return connection.respond(HTTPStatus.UNAUTHORIZED, "the token is not this host's\n")
        if path == "/metrics":
            return connection.respond(HTTPStatus.OK, _metrics(host))
        if path != HOST_PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, f"workers connect to {HOST_PATH}\n")
        return None

    async def _connected(self, socket: ServerConnection) -> None:
        _keep_alive(socket)
        connection = _Connection(socket, self._loop)
        writing = asyncio.create_task(connection.write())
        try:
            async with asyncio.timeout(OPENING_TIMEOUT_S):
                first = await socket.recv()
            await self._first(connection, first if isinstance(first, bytes) else b"")
        except (ConnectionClosed, TimeoutError):
            pass
        finally:
            with suppress(RuntimeError):  # the agent's loop has ended
                self._host.agent_loop.call_soon_threadsafe(self._host.close_call, connection)
            connection.close_soon()  # behind what was sent
            with suppress(ConnectionClosed):
                await writing

    async def _first(self, connection: _Connection, raw: bytes) -> None:
        host = self._host
        decoded = decode_from_worker(raw, host._agent.audio_format)
        first = decoded[0] if isinstance(decoded, list) and decoded else decoded
        if not isinstance(first, Watch | Open):
            why = first.reason if isinstance(first, Malformed) else "the first message is watch or open"
            connection.send(encode_control([Refused(reason=why, is_final=True)]))
        elif first.version != HOST_PROTOCOL_VERSION:
            reason = f"this host speaks version {HOST_PROTOCOL_VERSION} of the host protocol, got {first.version}"
            connection.send(encode_control([Refused(reason=reason, is_final=True)]))
        elif isinstance(first, Watch):
            await self._watched(connection)
        elif host.is_draining:
            connection.send(encode_control([Refused(reason="this host is going away")]))
        else:
            host.agent_loop.call_soon_threadsafe(host.open_call, first, connection)
            await self._called(connection)

    async def _watched(self, connection: _Connection) -> None:
        connection.send(encode_control([self._host.hello()]))
        while not connection.is_closed and not self._stop.is_set():
            connection.send(encode_control([self._host.load()]))
            with suppress(TimeoutError):
                async with asyncio.timeout(LOAD_INTERVAL_S):
                    await connection.socket.wait_closed()
                    return

    async def _called(self, connection: _Connection) -> None:
        loop, form = self._host.agent_loop, self._host._agent.audio_format
        async for raw in connection.socket:
            decoded = decode_from_worker(raw if isinstance(raw, bytes) else b"", form)
            if isinstance(decoded, Malformed):
                connection.send(encode_control([Refused(reason=decoded.reason, is_final=True)]))
                return
            cost = len(raw) + MESSAGE_COST_BYTES
            connection.received_bytes += cost
            loop.call_soon_threadsafe(connection.handle, decoded, cost)
            while connection.received_bytes - connection.handled_bytes > MAX_UNREAD_BYTES:  # noqa: ASYNC110 - the other loop has no event for this one
                await asyncio.sleep(0.05)


class _Connection:
    """One worker's WebSocket; `send` and `close_soon` may be called on either loop."""

    def __init__(self, socket: ServerConnection, loop: asyncio.AbstractEventLoop) -> None:
        self.socket = socket
        self.call: ServedCall | None = None
        self.is_closed = False
        self.received_bytes = 0
        """Written on the loop of sockets alone, as `handled_bytes` is on the agent's."""
        self.handled_bytes = 0
        self._loop = loop
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._wake = asyncio.Event()

    def handle(self, decoded: list[FromWorker] | tuple[int, bytes], size: int) -> None:
        """On the agent's loop: give the call what has arrived."""
        self.handled_bytes += size
        if self.call is None:
            return
        if isinstance(decoded, tuple):
            self.call.frame(*decoded)
        else:
            for message in decoded:
                self.call.take(message)

    def send(self, raw: bytes) -> None:
        with suppress(RuntimeError):  # the loop of sockets has ended
            self._loop.call_soon_threadsafe(self._queue, raw)

    def close_soon(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.close)

    def close(self) -> None:
        """Send what waits, and close."""
        if not self.is_closed:
            self._loop.call_later(CLOSE_TIMEOUT_S, self.socket.transport.abort)
        self.is_closed = True
        self._wake.set()

    async def write(self) -> None:
        while True:
            self._wake.clear()
            while self._unsent:
                raw = self._unsent.popleft()
                self._unsent_bytes -= len(raw) + MESSAGE_COST_BYTES
                await self.socket.send(raw)
            if self.is_closed:
                await self.socket.close()
                return
            await self._wake.wait()

    def _queue(self, raw: bytes) -> None:
        """On the loop of sockets: `write` may be waiting for a worker that does not read."""
        if self.is_closed:
            return
        self._unsent.append(raw)
        self._unsent_bytes += len(raw) + MESSAGE_COST_BYTES
        if self._unsent_bytes > MAX_UNSENT_BYTES:
            _log.warning("host_worker_behind", peer=_peer(self.socket), bytes=MAX_UNSENT_BYTES)
            self._unsent.clear()
            self.is_closed = True
            self.socket.transport.abort()
        self._wake.set()


def _remove_stale(address: HostAddress) -> None:
    """Remove the socket of a host that has ended; raises `BindError` for anything else in its place."""
    path = address.path
    if path is None:
        return
    if not path.parent.is_dir():
        raise BindError(f"cannot listen at {address}: there is no folder {path.parent}")
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise BindError(f"cannot listen at {address}: there is a file there that is no socket")
    probe = socket.socket(socket.AF_UNIX)
    try:
        probe.connect(str(path))
    except ConnectionRefusedError:
        path.unlink()
    except OSError as error:
        raise BindError(f"cannot listen at {address}: {_reason(error)}") from None
    else:
        raise BindError(f"cannot listen at {address}: another host listens there")
    finally:
        probe.close()


def _metrics(host: HostServer) -> str:
    counters, load = host.counters, host.load()
    figures = {
        "voice_host_calls": load.calls,
        "voice_host_loop_lag_seconds": load.lag_ms / 1000,
        "voice_host_draining": int(load.is_draining),
        "voice_host_calls_opened_total": counters.opened,
        "voice_host_calls_failed_total": counters.failed,
        "voice_host_calls_fenced_total": counters.fenced,
    }
    for kind, count in sorted(load.malformed_messages.items()):
        figures[f'voice_host_malformed_messages_total{{kind="{kind}"}}'] = count
    return "".join(f"{name} {value}\n" for name, value in figures.items())


def _keep_alive(connection: ServerConnection) -> None:
    found = connection.transport.get_extra_info("socket")
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            found.setsockopt(socket.IPPROTO_TCP, option, value)


def _peer(connection: ServerConnection) -> str:
    peer = connection.remote_address
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) and len(peer) > 1 else "unix"


def _reason(error: BaseException) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return reason[:1].lower() + reason[1:]
