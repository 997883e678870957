"""A worker with few descriptors under a TCP flood: probes and callers are answered meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support.worker_process import started
from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.web.descriptors import HELD_BACK

PROGRAM = str(Path(sys.executable).with_name("voice-gateway"))
DESCRIPTORS = 256
ANSWER_S = 4.0
"""Before the first connection of a flood is cut off for its age: places that come free then do not count."""
SETTINGS = """
[worker]
name = "worker-1"
listen = "127.0.0.1:0"
[tls]
certificate = "leaf.pem"
key = "leaf.key"
[agent]
name = "echo"
[websocket]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
"""
READY = "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HANDSHAKE = (
    "GET /v1/voice?token=sesame HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    ensure_certificate(tmp_path, now=time.time())
    (tmp_path / "worker.toml").write_text(SETTINGS)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f'ulimit -n {DESCRIPTORS}; exec "$0" "$@"', PROGRAM),
        *("serve", "--json", "--config", str(tmp_path / "worker.toml")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"VOICE_GATEWAY_ACCESS_TOKEN": "sesame"},
    )
    facts = await started(process)
    yield facts | {"folder": tmp_path, "pid": process.pid}
    process.terminate()
    _, errors = await process.communicate()
    assert b"Traceback" not in errors
    event = json.loads(errors.splitlines()[0])
    assert (event["descriptors"], event["tcp_connections"]) == (DESCRIPTORS, DESCRIPTORS - HELD_BACK)


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


async def status(server: tuple[str, int], request: str, tls: ssl.SSLContext | None = None) -> int:
    async with asyncio.timeout(ANSWER_S):
        reader, writer = await asyncio.open_connection(*server, ssl=tls)
        writer.write(request.encode())
        line = await reader.readline()
        writer.close()
        return int(line.split(b" ")[1])


@asynccontextmanager
async def silent(server: tuple[str, int], count: int, sources: int, data: bytes = b"") -> AsyncIterator[None]:
    """Connections from several addresses of 127.0.0.0/8 that say `data` and no more."""
    sockets: list[socket.socket] = []
    try:
        await connect_all(sockets, server, count, sources, data)
        yield
    finally:
        for each in sockets:
            each.close()


async def connect_all(
    sockets: list[socket.socket], server: tuple[str, int], count: int, sources: int, data: bytes
) -> None:
    for number in range(count):
        each = socket.socket()
        each.setblocking(False)
        each.bind((f"127.0.1.{1 + number % sources}", 0))
        sockets.append(each)
        await asyncio.get_running_loop().sock_connect(each, server)
        if data:
            await asyncio.get_running_loop().sock_sendall(each, data)


@pytest.mark.parametrize("sources", [1, 200])
async def test_connections_that_never_begin_tls_leave_room_for_probes_and_callers(
    worker: dict[str, Any], sources: int
) -> None:
    tls = ssl.create_default_context(cafile=str(worker["folder"] / "ca.pem"))
    websocket, admin = address(worker["websocket"]), address(worker["admin"])
    async with silent(websocket, 600, sources):
        assert await status(admin, READY) == 200
        assert await status(websocket, HANDSHAKE, tls) == 101
        assert len(os.listdir(f"/proc/{worker['pid']}/fd")) < DESCRIPTORS - HELD_BACK


async def test_slow_heads_on_the_admin_port_leave_probes_answered(worker: dict[str, Any]) -> None:
    admin = address(worker["admin"])
    async with silent(admin, 40, 1, b"GET /"):
        for _ in range(5):
            assert await status(admin, READY) == 200
