"""The listener: connections are counted before TLS, and no refusal of the system stops or spins it."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator

import pytest

from quiclb.http import listener as tcp
from quiclb.http.connection_limiter import ConnectionLimiter, ConnectionLimits
from quiclb.http.listener import ListenerCounters, TcpConnection, TcpListener
from quiclb.net.address import Address

MUCH = 20_000_000


class Server:
    """Answers each line with itself; a connection that says `stay` is established."""

    def __init__(self, limits: ConnectionLimits, timeout_s: float = 60.0) -> None:
        self.counters = ListenerCounters()
        self.defects: list[Exception] = []
        self.listener = TcpListener(
            self._serve,
            ConnectionLimiter(limits),
            self.counters,
            max_line_bytes=1_000,
            request_timeout_s=timeout_s,
            on_failure=self.defects.append,
        )
        self.address: Address = ("", 0)

    async def _serve(self, connection: TcpConnection) -> None:
        line = await connection.reader.readline()
        if line == b"break\n":
            raise ZeroDivisionError
        await connection.respond(line if line != b"much\n" else bytes(MUCH))
        if line == b"stay\n":
            connection.establish()
            await connection.reader.read()

    async def ask(self, line: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(line)
        try:
            return await reader.readline()
        except ConnectionError:
            return b""
        finally:
            writer.close()


async def started(limits: ConnectionLimits, timeout_s: float = 60.0) -> Server:
    server = Server(limits, timeout_s)
    server.address = await server.listener.start(("127.0.0.1", 0))
    return server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = await started(ConnectionLimits(4, 4, 3, 3))
    yield server
    await server.listener.stop()
    assert len(server.listener.limiter) == 0


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def test_silent_connections_are_evicted_oldest_first_for_one_that_speaks(server: Server) -> None:
    silent = [await asyncio.open_connection(*server.address) for _ in range(3)]
    assert await server.ask(b"hello\n") == b"hello\n"
    assert await is_closed(silent[0][0])
    assert server.counters.evicted == {"waiting": 1}
    for _, writer in silent:
        writer.close()


async def test_more_connections_than_places_in_one_turn_leak_no_socket(server: Server) -> None:
    """An evicted connection's task may be cancelled before it began; warnings are errors here."""
    sockets = [socket.socket() for _ in range(12)]
    for each in sockets:
        each.connect(server.address)  # the loop does not run meanwhile, so that all are accepted in one turn
    while server.counters.accepted < 12:  # noqa: ASYNC110 - a listener has no event
        await asyncio.sleep(0)
    while server.listener.connection_count > 3:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert server.counters.evicted == {"waiting": 9}
    for each in sockets:
        each.close()


async def test_established_connections_stay_and_the_next_is_refused() -> None:
    server = await started(ConnectionLimits(2, 2, 2, 2))
    opened = [await asyncio.open_connection(*server.address) for _ in range(2)]
    for reader, writer in opened:
        writer.write(b"stay\n")
        assert await reader.readline() == b"stay\n"
    assert await server.ask(b"hello\n") == b""
    assert server.counters.refused == {"address_limit": 1}
    for _, writer in opened:
        writer.close()
    await server.listener.stop()


async def test_a_connection_without_a_request_is_cut_off_in_time() -> None:
    server = await started(ConnectionLimits(4, 4, 4, 4), timeout_s=0.01)
    reader, writer = await asyncio.open_connection(*server.address)
    async with asyncio.timeout(5):
        assert await is_closed(reader)
    assert server.counters.evicted == {"timeout": 1}
    writer.close()
    await server.listener.stop()


async def test_a_large_response_is_delivered_to_a_reader_that_is_slow(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the time of a request, not that of a close."""
    monkeypatch.setattr(tcp, "LINGER_S", 0.001)
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"much\n")
    assert len(await reader.read()) == MUCH
    writer.close()


async def test_a_defect_closes_one_connection_and_is_counted(server: Server) -> None:
    assert await server.ask(b"break\n") == b""
    assert [type(defect) for defect in server.defects] == [ZeroDivisionError]
    assert server.counters.failed == 1
    assert await server.ask(b"hello\n") == b"hello\n"


class Exhausted:
    """A listening socket whose `accept` fails a number of times, as without free descriptors."""

    def __init__(self, sock: socket.socket, error: int, failures: int) -> None:
        self._sock = sock
        self._error = error
        self.failures = failures

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        if self.failures:
            self.failures -= 1
            raise OSError(self._error, "refused")
        return self._sock.accept()

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM])
async def test_errors_of_accept_pause_the_listener_and_never_close_it(
    server: Server, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "ACCEPT_PAUSE_S", 0.01)
    sock = server.listener._sock
    assert sock is not None
    server.listener._sock = Exhausted(sock, error, failures=3)  # type: ignore[assignment]
    async with asyncio.timeout(5):
        assert await server.ask(b"hello\n") == b"hello\n"
    assert server.counters.accept_errors == {errno.errorcode[error]: 3}, "one try in each pause: it does not spin"


async def test_without_descriptors_the_longest_waiting_connection_makes_room(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "ACCEPT_PAUSE_S", 0.01)
    reader, writer = await asyncio.open_connection(*server.address)
    while not server.listener.connection_count:  # noqa: ASYNC110 - it arrives later
        await asyncio.sleep(0)
    sock = server.listener._sock
    assert sock is not None
    server.listener._sock = Exhausted(sock, errno.EMFILE, failures=1)  # type: ignore[assignment]
    assert await server.ask(b"hello\n") == b"hello\n"
    assert await is_closed(reader)
    writer.close()


async def test_stopping_closes_the_port(server: Server) -> None:
    server.listener.stop_accepting()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(*server.address)
