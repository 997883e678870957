from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
from prometheus_client import CollectorRegistry

from quiclb.net.address import Address
from tests.unit.voice_gateway.session.fakes import FakeAgent
from voice_gateway.errors import BindError
from voice_gateway.ops.admin.access import AdminToken
from voice_gateway.ops.admin.call_operations import CallOperations
from voice_gateway.ops.admin.event_streams import EventStreams
from voice_gateway.ops.admin.operations import Operation, routes_of
from voice_gateway.ops.admin.server import admin_server
from voice_gateway.ops.admin.table import AdminParts, admin_operations
from voice_gateway.recording.library.reader_process import CallReader
from voice_gateway.session.manager import SessionManager
from voice_gateway.store.implementations.memory import MemoryStore
from voice_gateway.web.descriptors import ADMIN_CONNECTIONS
from voice_gateway.web.server import Route, WebRequest, WebResponse


def fails(request: WebRequest) -> WebResponse:
    raise RuntimeError("a defect")


async def no_qlog(connection: str, seconds: float) -> bytes:
    raise AssertionError


def routes(manager: SessionManager) -> list[Route]:
    """What a worker without an admin token serves, and a page that fails."""
    streams = EventStreams(manager.events)
    calls = CallOperations(CallReader(None, None), dict)
    parts = AdminParts(manager, CollectorRegistry(), streams, lambda deadline_s: deadline_s or 0.0, no_qlog, calls)
    broken = Operation("GET", "/broken", "Fails.", fails, is_open=True)
    return routes_of((*admin_operations(parts), broken), AdminToken(None))


@pytest.fixture
def manager() -> SessionManager:
    return SessionManager("worker-1", FakeAgent(), MemoryStore(), new_id=lambda: "s-1")


@pytest.fixture
async def address(manager: SessionManager) -> AsyncIterator[Address]:
    server = admin_server(routes(manager), ["worker.example.com"])
    yield await server.start("admin.listen", ("127.0.0.1", 0), None)
    await server.stop()


async def exchange(address: Address, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def get(address: Address, path: str) -> tuple[int, dict[str, str], bytes]:
    answer = await exchange(address, f"GET {path} HTTP/1.1\r\nHost: 10.1.2.3:9090\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert int(headers["content-length"]) == len(body)
    return int(status.split(" ")[1]), headers, body


async def test_health(address):
    assert (await get(address, "/healthz"))[0] == 200


async def test_readiness_ends_with_draining(address, manager):
    assert (await get(address, "/readyz"))[0] == 200
    manager.drain(1.0)
    assert (await get(address, "/readyz"))[0] == 503
    assert (await get(address, "/healthz"))[0] == 200


async def test_metrics_are_prometheus_text(address):
    status, headers, _ = await get(address, "/metrics?name=x")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")


async def test_sessions_are_json(address):
    status, headers, body = await get(address, "/sessions")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == {"worker": "worker-1", "draining": False, "sessions": [], "ended": []}


async def test_another_path_is_told_which_there_are(address):
    status, _, body = await get(address, "/")
    assert status == 404
    assert b"/sessions" in body


async def test_a_page_that_fails_answers_500_and_the_next_is_served(address):
    assert (await get(address, "/broken"))[0] == HTTPStatus.INTERNAL_SERVER_ERROR
    assert (await get(address, "/healthz"))[0] == 200


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "PUT"])
async def test_a_405_names_the_allowed_methods(address, method):
    """RFC 9110 section 15.5.6."""
    answer = await exchange(address, f"{method} /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET, HEAD\r\n" in answer


async def test_head_is_answered_like_get_without_a_body(address):
    answer = await exchange(address, b"HEAD /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Length: 6\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("path", ["/metrics", "/sessions", "/readyz"])
async def test_a_foreign_host_gets_421_that_names_the_setting(address, path):
    """A page whose name was rebound to this address sends that name (RFC 9110 section 15.5.20)."""
    answer = await exchange(address, f"GET {path} HTTP/1.1\r\nHost: attacker.example:9090\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b"admin.hosts" in answer


@pytest.mark.parametrize(
    "host", ["10.244.0.7:9090", "[::1]:9090", "localhost:9090", "worker.example.com", socket.gethostname()]
)
async def test_probes_and_scrapes_by_address_or_known_name_are_served(address, host):
    answer = await exchange(address, f"GET /readyz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_pages_of_a_foreign_origin_get_403(address):
    request = b"GET /sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: https://attacker.example\r\n\r\n"
    answer = await exchange(address, request)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"Access-Control" not in answer


@pytest.mark.parametrize(
    "request_",
    [b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\xff\r\n\r\n", b"GET / SMTP\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\n"],
)
async def test_what_is_no_request_is_refused(address, request_):
    assert (await exchange(address, request_)).startswith(b"HTTP/1.1 400 ")


async def test_an_endless_request_is_cut_off_and_the_next_is_served(address):
    assert await exchange(address, b"GET /" + b"a" * 100_000) == b""
    assert (await get(address, "/healthz"))[0] == 200


async def test_slow_heads_beyond_the_limit_make_room_for_a_probe(address):
    slow = []
    for _ in range(ADMIN_CONNECTIONS + 8):
        _, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /")
        slow.append(writer)
    assert (await get(address, "/readyz"))[0] == 200
    for writer in slow:
        writer.close()


async def test_stop_cuts_off_who_is_waiting(manager):
    server = admin_server(routes(manager))
    address = await server.start("admin.listen", ("127.0.0.1", 0), None)
    _reader, writer = await asyncio.open_connection(*address)
    await asyncio.sleep(0.01)
    await server.stop()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(*address)
    writer.close()


async def test_a_port_in_use_is_one_sentence(address, manager):
    with pytest.raises(BindError, match=r"admin\.listen: .*address already in use"):
        await admin_server(routes(manager)).start("admin.listen", address, None)
