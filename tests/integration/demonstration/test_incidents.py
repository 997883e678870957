"""What the page's buttons may do to the local cluster, and who may press them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import pytest

from deploy.local.cluster import Cluster
from deploy.local.incidents import Incidents
from testbed.ports import free_port

PAGE = "http://127.0.0.1:8080"


class Workers:
    """Stands in for a cluster of two workers."""

    def __init__(self) -> None:
        self.options = SimpleNamespace(host="127.0.0.1", workers=2)
        self.page_url = f"{PAGE}/"
        self.happened: list[tuple[str, int]] = []
        self.is_back = asyncio.Event()

    async def kill_worker(self, index: int) -> None:
        self.happened.append(("killed", index))

    async def start_worker(self, index: int) -> None:
        self.happened.append(("started", index))
        self.is_back.set()


@pytest.fixture
async def workers() -> Workers:
    return Workers()


@pytest.fixture
async def port(workers: Workers) -> AsyncIterator[int]:
    port = free_port()
    async with Incidents(cast(Cluster, workers), port, away_s=0.0):
        yield port


async def ask(port: int, method: str, target: str, origin: str | None = PAGE) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    carried = "" if origin is None else f"Origin: {origin}\r\n"
    writer.write(f"{method} {target} HTTP/1.1\r\nHost: h\r\n{carried}\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()


async def test_a_worker_dies_and_comes_back(workers: Workers, port: int) -> None:
    answer = await ask(port, "POST", "/crash?worker=worker-2")
    assert answer.startswith("HTTP/1.1 202 ")
    assert f"Access-Control-Allow-Origin: {PAGE}\r\n" in answer
    async with asyncio.timeout(5):
        await workers.is_back.wait()
    assert workers.happened == [("killed", 1), ("started", 1)]


@pytest.mark.parametrize(
    ("method", "target", "origin", "status"),
    [
        ("POST", "/crash?worker=worker-1", "https://elsewhere.example", 403),
        ("POST", "/crash?worker=worker-1", None, 403),
        ("GET", "/crash?worker=worker-1", PAGE, 403),
        ("POST", "/crash?worker=worker-3", PAGE, 404),
        ("POST", "/crash", PAGE, 404),
    ],
)
async def test_nobody_else_breaks_anything(
    workers: Workers, port: int, method: str, target: str, origin: str | None, status: int
) -> None:
    assert (await ask(port, method, target, origin)).startswith(f"HTTP/1.1 {status} ")
    assert workers.happened == []
