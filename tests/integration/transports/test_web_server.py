"""The HTTP and WebSocket listener on a real socket, driven by bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from http import HTTPStatus

import pytest

from quiclb.http.connection_limiter import ConnectionLimits
from quiclb.http.http1 import MAX_HEAD_BYTES, HostRule
from quiclb.net.address import Address
from testbed.waiting import until
from voice_gateway.web import websocket
from voice_gateway.web.server import (
    MAX_BODY_BYTES,
    PARTS_PER_TURN,
    Route,
    StreamedResponse,
    WebRequest,
    WebResponse,
    WebServer,
    connection_limiter,
    download,
)
from voice_gateway.web.websocket import (
    EXTRA_FRAMES_PER_S,
    MAX_FRAGMENTS,
    SLICE_BYTES,
    Ending,
    WebSocket,
)

HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Listener:
    def __init__(self) -> None:
        self.socket: WebSocket | None = None
        self.got: list[bytes] = []
        self.ended: list[tuple[str, Ending]] = []
        self.is_over = asyncio.Event()

    def text_received(self, text: bytes) -> None:
        if text == b"break":
            raise ZeroDivisionError
        self.got.append(text)

    def binary_received(self, data: bytes) -> None:
        self.got.append(data)
        assert self.socket is not None
        self.socket.send_binary(data)

    def closed(self, reason: str, ending: Ending) -> None:
        self.ended.append((reason, ending))
        self.is_over.set()


class Bench:
    """A server with one page and one socket, and raw connections to it."""

    def __init__(self) -> None:
        self.requests: list[WebRequest] = []
        self.listener = Listener()
        self.server = WebServer(
            {"/page": self._page, "/read": self._page, "/broken": self._broken},
            {"/socket": self._socket, "/closed": self._refused, "/faulty": self._faulty},
            routes=[
                Route("POST", "/page", self._page),
                Route("GET", "/items/{item}/parts", self._stream),
                Route("DELETE", "/items/{item}", self._later),
                Route("POST", "/items/{item}/wait", self._wait),
            ],
        )
        self.address: Address = ("", 0)
        self.goes_on = asyncio.Event()
        self.streams_ended = 0
        self.waits_ended = 0

    def _page(self, request: WebRequest) -> WebResponse:
        self.requests.append(request)
        return WebResponse(HTTPStatus.OK, "hello\n")

    def _stream(self, request: WebRequest) -> StreamedResponse:
        async def parts() -> AsyncGenerator[bytes, None]:
            try:
                yield f"{request.parameters['item']}\n".encode()
                await self.goes_on.wait()
                yield b"the rest\n"
            finally:
                self.streams_ended += 1

        return StreamedResponse(HTTPStatus.OK, parts(), "text/plain")

    async def _later(self, request: WebRequest) -> WebResponse:
        await asyncio.sleep(0)
        return WebResponse(HTTPStatus.OK, f"{request.method} {request.parameters['item']}")

    async def _wait(self, request: WebRequest) -> WebResponse:
        self.requests.append(request)
        try:
            await self.goes_on.wait()
        finally:
            self.waits_ended += 1
        return WebResponse(HTTPStatus.OK, "at last")

    def _broken(self, request: WebRequest) -> WebResponse:
        raise ZeroDivisionError

    def _socket(self, request: WebRequest, socket: WebSocket) -> Listener:
        self.listener.socket = socket
        return self.listener

    def _faulty(self, request: WebRequest, socket: WebSocket) -> Listener:
        raise ZeroDivisionError

    def _refused(self, request: WebRequest, socket: WebSocket) -> WebResponse:
        return WebResponse(HTTPStatus.FORBIDDEN, "no\n")

    async def ask(self, data: bytes) -> tuple[int, bytes]:
        """Send, and return status and body of the answer, (0, b"") for none."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(data)
        try:
            answer = await reader.read()
        except ConnectionError:
            answer = b""
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return (int(head.split(b" ")[1]), body) if head else (0, b"")

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(HANDSHAKE % b"/socket")
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        return reader, writer


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    bench.address = await bench.server.start("web.listen", ("127.0.0.1", 0), None)
    yield bench
    async with asyncio.timeout(20):
        await bench.server.stop()


def masked(opcode: int, payload: bytes, *, is_final: bool = True) -> bytes:
    assert len(payload) < 126
    return bytes((opcode | (0x80 if is_final else 0), 0x80 | len(payload))) + bytes(4) + payload


async def test_parts_of_an_answer_are_sent_as_they_come(bench: Bench) -> None:
    reader, writer = await asyncio.open_connection(*bench.address)
    writer.write(b"GET /items/a%20b/parts HTTP/1.1\r\nHost: h\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"Content-Length" not in head
    assert await reader.readline() == b"a b\n"
    bench.goes_on.set()
    assert await reader.read() == b"the rest\n"
    assert bench.streams_ended == 1
    writer.close()


async def test_an_answer_in_parts_ends_with_the_client(bench: Bench) -> None:
    reader, writer = await asyncio.open_connection(*bench.address)
    writer.write(b"GET /items/a/parts HTTP/1.1\r\nHost: h\r\n\r\n")
    await reader.readuntil(b"a\n")
    writer.close()
    await until(lambda: bench.streams_ended == 1)


@pytest.mark.parametrize("is_download", [True, False])
async def test_a_download_may_take_longer_than_a_request_and_a_page_may_not(is_download: bool) -> None:
    content = bytes(8 << 20)
    server = WebServer(
        {},
        {},
        routes=[
            Route("GET", "/download", lambda request: download(content, "audio/wav")),
            Route("GET", "/page", lambda request: WebResponse(HTTPStatus.OK, content=content)),
        ],
        request_timeout_s=2.0,
    )
    reader, writer = await asyncio.open_connection(*await server.start("web.listen", ("127.0.0.1", 0), None))
    writer.write(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % (b"/download" if is_download else b"/page"))
    await reader.readuntil(b"\r\n\r\n")
    if is_download:
        await asyncio.sleep(2.5)  # the client's stream takes no more meanwhile
    else:
        await until(lambda: not server.connection_count, "the page's connection is cut off")
    got = 0
    with suppress(ConnectionError):
        while part := await reader.read(1 << 16):
            got += len(part)
    assert (got == len(content)) is is_download
    writer.close()
    await server.stop()


async def test_head_of_an_answer_in_parts_has_none(bench: Bench) -> None:
    assert await bench.ask(b"HEAD /items/a/parts HTTP/1.1\r\nHost: h\r\n\r\n") == (200, b"")


async def test_a_handler_that_waits_answers_later(bench: Bench) -> None:
    assert await bench.ask(b"DELETE /items/a HTTP/1.1\r\nHost: h\r\n\r\n") == (200, b"DELETE a")


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_handler_that_waits_ends_with_its_client(bench: Bench, leaves: bool) -> None:
    reader, writer = await asyncio.open_connection(*bench.address)
    writer.write(b"POST /items/7/wait HTTP/1.1\r\nHost: h\r\n\r\n")
    await until(lambda: bool(bench.requests), "the handler waits")
    assert bench.waits_ended == 0
    if leaves:
        writer.close()
    else:
        bench.goes_on.set()
        assert (await reader.read()).endswith(b"at last")
        writer.close()
    await until(lambda: bench.waits_ended == 1, "the handler has ended")
    assert bench.server.counters.connections.failed == 0


async def test_a_template_takes_one_part_of_a_path_alone(bench: Bench) -> None:
    assert (await bench.ask(b"DELETE /items/a/b HTTP/1.1\r\nHost: h\r\n\r\n"))[0] == 404
    assert (await bench.ask(b"DELETE /items/ HTTP/1.1\r\nHost: h\r\n\r\n"))[0] == 404
    assert (await bench.ask(b"GET /items/a HTTP/1.1\r\nHost: h\r\n\r\n"))[0] == 405


async def test_head_is_get_without_the_body(bench: Bench) -> None:
    reader, writer = await asyncio.open_connection(*bench.address)
    writer.write(b"HEAD /page HTTP/1.1\r\nHost: h\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert b"Content-Length: 6\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")
    assert bench.requests[0].method == "GET"


async def test_two_servers_share_a_port_and_one_may_go(bench: Bench) -> None:
    servers = [WebServer({"/page": lambda request: WebResponse(HTTPStatus.OK, "ours\n")}, {}) for _ in range(2)]
    shared = await servers[0].start("page.listen", ("127.0.0.1", 0), None, is_shared=True)
    assert await servers[1].start("page.listen", shared, None, is_shared=True) == shared
    bench.address = shared
    await servers[0].stop()
    for _ in range(8):
        assert await bench.ask(b"GET /page HTTP/1.1\r\nHost: h\r\n\r\n") == (200, b"ours\n")
    await servers[1].stop()


async def test_a_page_learns_what_was_asked(bench: Bench) -> None:
    body = b"CallSid=CA1"
    head = b"POST /page?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nX-Mixed: Case \r\n\r\n" % len(body)
    assert await bench.ask(head + body) == (200, b"hello\n")
    (request,) = bench.requests
    assert (request.method, request.target, request.path, request.body) == ("POST", "/page?x=1", "/page", body)
    assert request.headers["x-mixed"] == "Case"
    assert request.peer.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /else HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"GET //[ HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"GET /broken HTTP/1.1\r\nHost: h\r\n\r\n", 500),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /page SIP/2.0\r\nHost: h\r\n\r\n", 400),
        (b"GET http://h/page HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /page HTTP/1.1\r\nHost: [\r\n\r\n", 400),
        (b"GET /page HTTP/1.1\r\n\r\n", 400),
        (b"POST /page HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
        (b"POST /page HTTP/1.1\r\nHost: h\r\nContent-Length: %b\r\n\r\n" % (b"1" * 5_000), 413),
        (b"POST /page HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 411),
        (b"POST /page HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"GET /page HTTP/1.1\r\nX: " + b"x" * 2 * MAX_HEAD_BYTES, 0),
        (b"GET /socket HTTP/1.1\r\nHost: h\r\n\r\n", 426),
        (b"POST /socket HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 405),
        (HANDSHAKE % b"/faulty", 500),
        (HANDSHAKE % b"/closed", 403),
        (HANDSHAKE.replace(b"Version: 13", b"Version: 8") % b"/socket", 400),
    ],
)
async def test_what_cannot_be_served_is_answered_by_status(
    bench: Bench, data: bytes, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (await bench.ask(data))[0] == status
    assert bench.listener.got == []


async def test_messages_go_both_ways(bench: Bench) -> None:
    reader, writer = await bench.open()
    writer.write(masked(1, b"text") + masked(2, b"bytes"))
    assert await reader.readexactly(7) == b"\x82\x05bytes"
    assert bench.listener.got == [b"text", b"bytes"]
    writer.close()
    await bench.listener.is_over.wait()
    assert bench.listener.ended == [("the connection broke", Ending.BROKEN)]


async def test_fragments_are_joined_around_a_ping(bench: Bench) -> None:
    reader, writer = await bench.open()
    writer.write(masked(1, b"a", is_final=False) + masked(9, b"?") + masked(0, b"", is_final=False) + masked(0, b"b"))
    assert await reader.readexactly(3) == b"\x8a\x01?"
    writer.write(masked(8, (1000).to_bytes(2, "big") + b"bye"))
    assert await reader.read() == b"\x88\x05\x03\xe8bye"
    assert bench.listener.got == [b"ab"]
    assert bench.listener.ended == [("closed by the caller with code 1000: bye", Ending.CLOSED)]
    writer.close()


async def test_messages_before_a_close_in_the_same_bytes_are_received(bench: Bench) -> None:
    _, writer = await bench.open()
    writer.write(masked(1, b"last words") + masked(8, b""))
    await bench.listener.is_over.wait()
    assert bench.listener.got == [b"last words"]
    writer.close()


async def test_after_its_own_close_nothing_is_received(bench: Bench) -> None:
    reader, writer = await bench.open()
    assert bench.listener.socket is not None
    bench.listener.socket.close(1001, "ü" * 100)
    bench.listener.socket.send_text(b"late")
    assert (await reader.readexactly(2))[0] == 0x88
    close = await reader.readexactly(124)
    assert close == (1001).to_bytes(2, "big") + ("ü" * 61).encode()
    writer.write(masked(1, b"late") + masked(8, b"\x03\xe9"))
    assert await reader.read() == b""
    assert bench.listener.got == []
    assert len(bench.listener.ended) == 1
    writer.close()


@pytest.mark.parametrize(
    ("data", "code", "ending"),
    [
        (b"\x81\xff" + (10_000_000).to_bytes(8, "big"), 1009, Ending.TOO_LARGE),
        (masked(1, b"a" * 100, is_final=False) + b"\x80\xff" + (65_500).to_bytes(8, "big"), 1009, Ending.TOO_LARGE),
        (b"\x81\x01a", 1002, Ending.BROKEN),
        (masked(3, b""), 1002, Ending.BROKEN),
        (masked(1, b"break"), 1011, Ending.BROKEN),
    ],
)
async def test_faults_close_with_their_code(
    bench: Bench, data: bytes, code: int, ending: Ending, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = await bench.open()
    writer.write(data)
    close = await reader.readexactly(4)
    assert (close[0], int.from_bytes(close[2:], "big")) == (0x88, code)
    await bench.listener.is_over.wait()
    ((reason, how),) = bench.listener.ended
    assert str(code) in reason
    assert how is ending
    writer.close()


async def test_a_peer_that_reads_nothing_is_cut_off(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(websocket, "MAX_UNSENT_BYTES", 100_000)
    _, writer = await bench.open()
    socket = bench.listener.socket
    assert socket is not None
    async with asyncio.timeout(20):
        while not bench.listener.is_over.is_set():
            socket.send_text(bytes(60_000))
            await asyncio.sleep(0)
    assert "websocket_unread" in capsys.readouterr().out
    writer.close()


async def test_a_peer_that_answers_no_close_is_cut_off(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "LINGER_S", 0.05)
    _, writer = await bench.open()
    assert bench.listener.socket is not None
    bench.listener.socket.close(1000, "")
    async with asyncio.timeout(20):
        await bench.listener.is_over.wait()
        while bench.server.connection_count:  # noqa: ASYNC110 - a server has no event
            await asyncio.sleep(0.01)
    writer.close()


async def test_connections_are_limited() -> None:
    server = WebServer({}, {"/": Bench()._socket}, limiter=connection_limiter(ConnectionLimits(1, 1, 1, 1)))
    address = await server.start("web.listen", ("127.0.0.1", 0), None)
    reader, first = await asyncio.open_connection(*address)
    first.write(HANDSHAKE % b"/")
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    reader, second = await asyncio.open_connection(*address)
    async with asyncio.timeout(20):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    first.close()
    second.close()
    await server.stop()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("PUT", "/page", "GET, HEAD, POST"), ("POST", "/read", "GET, HEAD"), ("POST", "/socket", "GET")],
)
async def test_a_405_names_the_allowed_methods(bench: Bench, method: str, path: str, allowed: str) -> None:
    """RFC 9110 section 15.5.6."""
    reader, writer = await asyncio.open_connection(*bench.address)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 405 ")
    assert f"\r\nAllow: {allowed}\r\n" in answer


async def test_a_rebound_host_reaches_no_page_and_no_socket() -> None:
    bench = Bench()
    bench.server = WebServer({"/page": bench._page}, {"/socket": bench._socket}, hosts=HostRule(loopback_only=True))
    bench.address = await bench.server.start("web.listen", ("127.0.0.1", 0), None)
    assert (await bench.ask(b"GET /page HTTP/1.1\r\nHost: attacker.example\r\n\r\n"))[0] == 421
    assert (await bench.ask((HANDSHAKE % b"/socket").replace(b"Host: h", b"Host: attacker.example")))[0] == 421
    assert (await bench.ask(b"GET /page HTTP/1.1\r\nHost: localhost:8080\r\n\r\n"))[0] == 200
    assert bench.listener.socket is None
    await bench.server.stop()


async def test_defects_are_counted(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    await bench.ask(b"GET /broken HTTP/1.1\r\nHost: h\r\n\r\n")
    await bench.ask(HANDSHAKE % b"/faulty")
    assert bench.server.counters.connections.failed == 2
    assert bench.server.counters.responses == {500: 2}


FLOODS = {
    "pings": masked(9, b"") * 10_000,
    "empty_fragments": masked(2, b"a", is_final=False) + masked(0, b"", is_final=False) * 10_000,
    "one_byte_fragments": masked(2, b"a", is_final=False) + masked(0, b"b", is_final=False) * 9_000,
    "pongs": masked(10, b"") * 10_000,
    "short_fragmented_messages": (masked(2, b"a", is_final=False) + masked(0, b"b")) * 4_500,
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_too_many_frames_that_end_no_message_close_with_1008(bench: Bench, flood: str) -> None:
    """RFC 6455 section 7.4.1: 1008 is for a message that violates the endpoint's policy."""
    reader, writer = await bench.open()
    began_at = asyncio.get_running_loop().time()
    writer.write(FLOODS[flood])
    data = await asyncio.wait_for(reader.read(), 20)
    allowed = EXTRA_FRAMES_PER_S * (1 + asyncio.get_running_loop().time() - began_at)
    close = data[data.rindex(b"\x88") :]
    assert int.from_bytes(close[2:4], "big") == 1008
    assert data.count(b"\x8a\x00") <= allowed + SLICE_BYTES // 6
    ((reason, ending),) = bench.listener.ended
    assert "1008" in reason
    assert ending is Ending.BROKEN
    assert sum(bench.server.counters.websockets_cut_off.values()) == 1
    writer.close()


async def test_a_message_has_at_most_64_fragments(bench: Bench) -> None:
    reader, writer = await bench.open()
    whole = masked(2, b"a", is_final=False) + masked(0, b"a", is_final=False) * (MAX_FRAGMENTS - 2) + masked(0, b"a")
    writer.write(whole)
    assert await reader.readexactly(2 + MAX_FRAGMENTS) == bytes((0x82, MAX_FRAGMENTS)) + b"a" * MAX_FRAGMENTS
    writer.write(masked(2, b"a", is_final=False) + masked(0, b"", is_final=False) * MAX_FRAGMENTS)
    assert int.from_bytes((await reader.readexactly(4))[2:], "big") == 1008
    assert bench.server.counters.websockets_cut_off.total() == 1
    writer.close()


async def test_few_frames_are_taken_in_a_turn_of_the_loop(bench: Bench) -> None:
    reader, writer = await bench.open()
    count, turns = 800, 0
    writer.write(masked(2, b"a") * count)
    done = asyncio.create_task(reader.readexactly(3 * count))
    while not done.done():
        await asyncio.sleep(0)
        turns += 1
    assert len(bench.listener.got) == count
    assert turns >= count // (PARTS_PER_TURN * (1 + SLICE_BYTES // 7))
    writer.close()


async def test_compression_is_not_negotiated(bench: Bench) -> None:
    """RFC 7692 section 7.1: without an answer there is no extension."""
    reader, writer = await asyncio.open_connection(*bench.address)
    offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key"
    writer.write((HANDSHAKE % b"/socket").replace(b"Sec-WebSocket-Key", offer))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in head
    assert b"extensions" not in head.lower()
    writer.close()
