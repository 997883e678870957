"""Operators and a worker with calls: events, orders, a qlog, and answers in time."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.integration.support.workers import TONE, working
from tests.unit.voicelink.quic.qlog_schema import check_qlog
from voice_client import Security, VoiceClient
from voice_gateway.cli.admin_client import AdminClient
from voice_gateway.worker.worker import Worker

TOKEN = "a-token-of-the-operator"
ADMIN = {"listen": "127.0.0.1:0", "token": TOKEN}
CALLS = 6
LOOKS = 20


def address(worker: Worker) -> str:
    assert worker.addresses.admin is not None
    return "http://{}:{}".format(*worker.addresses.admin)


@asynccontextmanager
async def call(worker: Worker, folder: Path) -> AsyncIterator[VoiceClient]:
    assert worker.addresses.direct is not None
    url = "https://{}:{}/v1/voice".format(*worker.addresses.direct)
    async with VoiceClient(url, security=Security(ca_file=folder / "ca.pem")) as client:
        yield client


def order(url: str, body: dict[str, Any]) -> int:
    content, headers = json.dumps(body).encode(), {"Authorization": f"Bearer {TOKEN}"}
    request = urllib.request.Request(url, content, headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - loopback
        return int(answer.status)


async def test_an_operator_watches_a_call_records_its_qlog_and_ends_it(tmp_path: Path) -> None:
    async with working(tmp_path, admin=ADMIN) as worker, call(worker, tmp_path) as client:
        host, port = worker.addresses.admin or ("", 0)
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET /events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        await reader.readuntil(b": events follow\n\n")
        [found] = (await asyncio.to_thread(AdminClient.of(address(worker)).sessions))["sessions"]
        recording = asyncio.to_thread(AdminClient.of(address(worker), token=TOKEN).qlog, found["id"], 1.5)
        qlog, _ = await asyncio.gather(recording, client.speak(TONE))
        assert "transport:packet_received" in check_qlog(json.loads(qlog))
        assert json.loads(qlog)["traces"][0]["vantage_point"]["type"] == "server"
        url = f"{address(worker)}/sessions/{found['id']}"
        assert await asyncio.to_thread(order, f"{url}/hangup", {"reason": "the shop closes"}) == 202
        async with asyncio.timeout(10):
            await reader.readuntil(b"event: session_ended\n")
            seen = await reader.readuntil(b"\n\n")
        writer.close()
    assert json.loads(seen.removeprefix(b"data: "))["reason"] == "the shop closes"


async def test_probes_metrics_and_sessions_are_answered_while_all_calls_speak(tmp_path: Path) -> None:
    async with working(tmp_path, admin=ADMIN) as worker:

        async def speak() -> None:
            async with call(worker, tmp_path) as client:
                while not is_enough.is_set():
                    await client.speak(TONE[:16_000])
                await client.finish()

        def look() -> None:
            for path in ("readyz", "metrics", "sessions"):
                url = f"{address(worker)}/{path}"
                with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - loopback
                    assert answer.status == 200

        is_enough = asyncio.Event()
        calls = asyncio.gather(*(speak() for _ in range(CALLS)))
        async with asyncio.timeout(20):
            while worker.sessions.count < CALLS:
                await asyncio.to_thread(look)
        for _ in range(LOOKS):
            await asyncio.to_thread(look)
        assert worker.sessions.count == CALLS
        is_enough.set()
        await calls
