"""A TCP listener that counts connections at accept, before TLS, and outlives running out of descriptors."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Final

from quiclb.http.connection_limiter import ConnectionLimiter
from quiclb.net.address import Address, normalise
from quiclb.net.fair_turns import FairTurns

ACCEPTS_PER_TURN: Final = 16
"""Connections accepted in one turn of the event loop, so that a flood of them delays nothing else for long."""
ACCEPT_PAUSE_S: Final = 0.1
"""How long nothing is accepted after the system refused a connection, for want of descriptors or memory."""
LINGER_S: Final = 2.0
"""How long a connection that is over may take to deliver what is unsent and to close TLS."""
BACKLOG: Final = 1_024
RECEIVE_BUFFER_BYTES: Final = 32_768
"""Of each connection, in the kernel, which doubles it: what arrives at once is copied several times."""
HANDSHAKES_PER_TURN: Final = 2
"""TLS handshakes begun in one turn of the event loop; each costs about two milliseconds."""


@dataclass(slots=True)
class ListenerCounters:
    """Totals since the start."""

    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """`address_limit` or `full`, at accept."""
    evicted: Counter[str] = field(default_factory=Counter)
    """`waiting`: closed before its request for a newer one; `timeout`: no whole request in time."""
    accept_errors: Counter[str] = field(default_factory=Counter)
    """By errno name, such as EMFILE."""
    failed: int = 0
    """Exceptions that are defects of ours; the connection was closed."""


class Turns:
    """Where the tasks of connections wait, so that few of them go on in each turn of the event loop."""

    def __init__(self, per_turn: int) -> None:
        self._turns: FairTurns[asyncio.Future[None]] = FairTurns(
            _wake, per_turn, call_soon=lambda callback: asyncio.get_running_loop().call_soon(callback)
        )

    async def wait(self, network: Hashable) -> None:
        """Return in this turn of the loop or a later one: those who wait go on by turns, one of each network."""
        turn = asyncio.get_running_loop().create_future()
        self._turns.submit(network, turn)
        await turn


def _wake(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


class TcpConnection:
    """An accepted connection: `peer` is its address, `network` the client it counts as.

    `reader` and `writer` are set once TLS is done.

    Call `establish` when the request is one that lasts, such as a WebSocket, else `respond` once.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def __init__(self, owner: TcpListener, sock: socket.socket, peer: Address, network: Hashable) -> None:
        self.peer = peer
        self.network = network
        self.is_established = False
        self._owner = owner
        self._sock = sock
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def establish(self) -> None:
        """From now on the connection may last, and is not closed for another one."""
        self.is_established = True
        self._cancel_deadline()
        self._owner.limiter.establish(self)

    async def respond(self, response: bytes) -> None:
        """Write the response and wait until the peer took it, for as long as it had for its request."""
        self._restart_deadline()
        self.writer.transport.set_write_buffer_limits(0)  # `drain` waits for all of it
        self.writer.write(response)
        await self.writer.drain()

    def _restart_deadline(self) -> None:
        self._cancel_deadline()
        self._deadline = asyncio.get_running_loop().call_later(self._owner.request_timeout_s, self._expire)

    async def abort_after_linger(self) -> None:
        """Read nothing more, and close once the peer had time to read what was sent.

        Closing with unread bytes makes a reset, which discards what the peer has not read.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.pause_reading()
        self._owner.limiter.wait(self)
        await asyncio.sleep(LINGER_S)
        transport.abort()

    def abort(self) -> None:
        """Close it at once."""
        if self._task is not None:
            self._task.cancel()

    def release(self) -> None:
        """Close the socket of a task that is over; the task may have been cancelled before it began."""
        self._cancel_deadline()
        if self._transport is None:
            self._sock.close()
        else:
            self._transport.abort()

    def _expire(self) -> None:
        self._owner.counters.evicted["timeout"] += 1
        self.abort()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def start(self, tls: ssl.SSLContext | None) -> asyncio.Task[None]:
        """Serve it in a task of its own, and return that."""
        self._restart_deadline()
        self._task = asyncio.get_running_loop().create_task(self._run(tls))
        return self._task

    async def _run(self, tls: ssl.SSLContext | None) -> None:
        try:
            await _readable(self._sock)
            if tls is not None:
                await self._owner.handshakes.wait(self.network)
            await self._open(tls)
            await self._owner.serve(self)
            self._owner.limiter.wait(self)
            self._cancel_deadline()
            self.writer.close()
            await asyncio.wait_for(self.writer.wait_closed(), LINGER_S)
        except (OSError, EOFError, asyncio.LimitOverrunError, TimeoutError):
            pass
        except asyncio.CancelledError:
            pass  # only `abort` cancels, and it wants no more than what follows
        except Exception as defect:
            self._owner.counters.failed += 1
            self._owner.on_failure(defect)

    async def _open(self, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        self.reader = asyncio.StreamReader(limit=self._owner.max_line_bytes, loop=loop)
        protocol = asyncio.StreamReaderProtocol(self.reader, loop=loop)
        timeouts = {} if tls is None else {"ssl_shutdown_timeout": LINGER_S}
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, self._sock, ssl=tls, **timeouts)
        self._transport = transport
        if tls is not None:  # what is read ahead while nothing is taken; 256 KiB by default
            transport.set_read_buffer_limits(self._owner.max_line_bytes)  # type: ignore[attr-defined]  # of SSL transports
        self.writer = asyncio.StreamWriter(transport, protocol, self.reader, loop)


class TcpListener:
    """`start` it, `stop_accepting` to drain it, `stop` at last.

    `serve` has a connection to itself; what it returns from is closed in good order, what it raises closes at once.
    A connection that is not established `request_timeout_s` after accept, TLS included, is cut off. `network_of` says
    which addresses count as one client's. `on_failure` is called within the handler of an exception that is a defect.
    Limits may be shared with other listeners: give them one `limiter`.
    """

    def __init__(
        self,
        serve: Callable[[TcpConnection], Awaitable[None]],
        limiter: ConnectionLimiter[TcpConnection],
        counters: ListenerCounters,
        *,
        max_line_bytes: int,
        request_timeout_s: float,
        network_of: Callable[[str], Hashable] = lambda host: host,
        on_failure: Callable[[Exception], None] = lambda defect: None,
    ) -> None:
        self.serve = serve
        self.limiter = limiter
        self.counters = counters
        self.max_line_bytes = max_line_bytes
        self.request_timeout_s = request_timeout_s
        self.on_failure = on_failure
        self.handshakes = Turns(HANDSHAKES_PER_TURN)
        self._network_of = network_of
        self._sock: socket.socket | None = None
        self._tls: ssl.SSLContext | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def connection_count(self) -> int:
        return len(self._open)

    async def start(
        self,
        address: Address,
        tls: ssl.SSLContext | None = None,
        *,
        is_shared: bool = False,
        inherited: socket.socket | None = None,
    ) -> Address:
        """Listen and return the address really bound; raises `OSError`.

        A port that `is_shared` takes several processes, among which the kernel deals connections out (SO_REUSEPORT).
        With an `inherited` socket of `listening_socket` nothing is bound: processes that have the same one take
        connections from one queue.
        """
        sock = listening_socket(address, is_shared=is_shared) if inherited is None else inherited
        self._sock, self._tls = sock, tls
        asyncio.get_running_loop().add_reader(sock, self._accept)
        host, port, *_ = sock.getsockname()
        return host, port

    def stop_accepting(self) -> None:
        """Take no further connection; those there are go on."""
        sock, self._sock = self._sock, None
        if sock is not None:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        if self._pause is not None:
            self._pause.cancel()

    async def stop(self) -> None:
        """Close; connections that are left are cut off."""
        self.stop_accepting()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if self._sock is None:
                return
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._accept_failed(error)
                return
            self._take(sock, normalise(address[:2]))

    def _take(self, sock: socket.socket, peer: Address) -> None:
        connection = TcpConnection(self, sock, peer, self._network_of(peer[0]))
        admission = self.limiter.admit(connection, connection.network)
        if admission.evicted is not None:
            self._evict(admission.evicted)
        if admission.refused is not None:
            self.counters.refused[admission.refused] += 1
            sock.close()
            return
        self.counters.accepted += 1
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = connection.start(self._tls)
        self._open.add(task)
        task.add_done_callback(lambda done: self._closed(done, connection))

    def _closed(self, task: asyncio.Task[None], connection: TcpConnection) -> None:
        self._open.discard(task)
        self.limiter.leave(connection)
        connection.release()

    def _evict(self, connection: TcpConnection) -> None:
        self.counters.evicted["waiting"] += 1
        self.limiter.leave(connection)
        connection.abort()

    def _accept_failed(self, error: OSError) -> None:
        """Wait a little, as the socket stays readable, and make room where descriptors are what is missing."""
        self.counters.accept_errors[errno.errorcode.get(error.errno or 0, "other")] += 1
        if error.errno in (errno.EMFILE, errno.ENFILE):
            longest = self.limiter.longest_waiting()
            if longest is not None:
                self._evict(longest)
        if self._sock is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._sock)
            self._pause = loop.call_later(ACCEPT_PAUSE_S, self._go_on, self._sock)

    def _go_on(self, sock: socket.socket) -> None:
        self._pause = None
        if sock is self._sock:
            asyncio.get_running_loop().add_reader(sock, self._accept)


def listening_socket(address: Address, *, is_shared: bool = False) -> socket.socket:
    """Return a TCP socket that listens at `address` and does not block; raises `OSError`."""
    family, kind, protocol, _, bound = socket.getaddrinfo(
        *address, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.bind(bound)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def own_names() -> tuple[str, ...]:
    """Return this machine's host name, and its first label."""
    name = socket.gethostname()
    return name, name.partition(".")[0]


async def _readable(sock: socket.socket) -> None:
    """Wait for the first bytes: a silent connection costs no TLS state."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def is_ready() -> None:
        loop.remove_reader(sock)
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(sock, is_ready)
    try:
        await ready
    finally:
        loop.remove_reader(sock)
