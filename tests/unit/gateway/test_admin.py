from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
from prometheus_client import CollectorRegistry

from gateway.admin import MAX_CONNECTIONS, AdminServer, Page, worker_pages
from gateway.errors import BindError
from gateway.session.manager import SessionManager
from gateway.store.memory import MemoryStore
from quiclb.address import Address
from tests.unit.gateway.session.fakes import FakeAgent


def fails() -> Page:
    raise RuntimeError("a defect")


@pytest.fixture
def manager() -> SessionManager:
    return SessionManager("worker-1", FakeAgent(), MemoryStore(), new_id=lambda: "s-1")


@pytest.fixture
async def address(manager: SessionManager) -> AsyncIterator[Address]:
    server = AdminServer({**worker_pages(manager, CollectorRegistry()), "/broken": fails})
    yield await server.start(("127.0.0.1", 0))
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
    answer = await exchange(address, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
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


@pytest.mark.parametrize("method", ["POST", "HEAD", "DELETE"])
async def test_nothing_but_get_is_served(address, method):
    answer = await exchange(address, f"{method} /healthz HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET\r\n" in answer


@pytest.mark.parametrize(
    "request_",
    [b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\xff\r\n\r\n", b"GET / SMTP\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\n"],
)
async def test_what_is_no_request_is_refused(address, request_):
    assert (await exchange(address, request_)).startswith(b"HTTP/1.1 400 ")


async def test_an_endless_request_is_cut_off_and_the_next_is_served(address):
    assert await exchange(address, b"GET /" + b"a" * 100_000) == b""
    assert (await get(address, "/healthz"))[0] == 200


async def test_connections_beyond_the_limit_are_cut_off(address):
    waiting = [await asyncio.open_connection(*address) for _ in range(MAX_CONNECTIONS)]
    assert await exchange(address, b"GET /healthz HTTP/1.1\r\n\r\n") == b""
    for _, writer in waiting:
        writer.close()
        await writer.wait_closed()
    await asyncio.sleep(0.01)
    assert (await get(address, "/healthz"))[0] == 200


async def test_stop_cuts_off_who_is_waiting(manager):
    server = AdminServer(worker_pages(manager, CollectorRegistry()))
    address = await server.start(("127.0.0.1", 0))
    _reader, writer = await asyncio.open_connection(*address)
    await asyncio.sleep(0.01)
    await server.stop()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(*address)
    writer.close()


async def test_a_port_in_use_is_one_sentence(address, manager):
    with pytest.raises(BindError, match=r"admin\.listen: .*address already in use"):
        await AdminServer(worker_pages(manager, CollectorRegistry())).start(address)
