"""Spoken orders through workers that are killed, by the bridge to OpenAI Realtime."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from testbed.waiting import until
from tests.agents.support.openai_realtime_server import KEY, RealtimeServer, realtime_server
from tests.agents.support.vendor_voice import SENTENCES, shop_brain
from tests.integration.support.relay import relaying
from tests.integration.support.worker_process import PROGRAM, WorkerProcess, run, started
from tests.integration.support.workers import calling
from tests.unit.recordings import recording

SETTINGS = """
[worker]
name = "{name}"
listen = "127.0.0.1:0"
[tls]
certificate = "leaf.pem"
key = "leaf.key"
[agent]
name = "openai-realtime"
[agent.settings]
base_url = "{url}"
tools = ["tests.agents.support.shop_program:{tool}"]
[admin]
listen = "127.0.0.1:0"
[session]
store = "sqlite:///{store}"
drain_timeout_s = 1
"""
ROOT = Path(__file__).parents[2]
PAUSE = bytes(2 * 16_000 * 2)


@asynccontextmanager
async def worker(folder: Path, name: str, server: RealtimeServer, tool: str) -> AsyncIterator[WorkerProcess]:
    settings = folder / f"{name}.toml"
    settings.write_text(SETTINGS.format(name=name, url=server.url, tool=tool, store=folder / "sessions.db"))
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        "serve",
        "--json",
        "--config",
        str(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "OPENAI_API_KEY": KEY, "PYTHONPATH": str(ROOT), "ORDERS": str(folder / "orders")},
    )
    try:
        yield WorkerProcess(process, await asyncio.wait_for(started(process), 60))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def orders(folder: Path) -> list[list[str]]:
    file = folder / "orders"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize(
    "place",
    [
        "between effect and result",
        pytest.param("in mid-speech", marks=pytest.mark.slow),
        pytest.param("in mid-answer", marks=pytest.mark.slow),
    ],
)
async def test_an_order_survives_the_kill_of_its_worker(tmp_path: Path, place: str) -> None:
    status, _, errors = await run("certificate", "--out", str(tmp_path))
    assert status == 0, errors
    tool = "add_item_once_open" if place == "between effect and result" else "add_item"
    async with (
        realtime_server(brain=shop_brain, pace_s=0.05) as server,
        worker(tmp_path, "w-1", server, tool) as first,
        worker(tmp_path, "w-2", server, tool) as second,
        relaying(_address(first)) as relay,
        calling(relay, tmp_path) as call,
    ):
        speaking = asyncio.create_task(call.speak(bytes(16_000) + recording("slt_order") + PAUSE))
        if place == "in mid-speech":
            await asyncio.sleep(2.0)
        elif place == "between effect and result":
            await until(lambda: orders(tmp_path), "the tool's effect", 60)
        else:
            await until(
                lambda: any(each.is_answering for each in server.sessions) and orders(tmp_path), "the answer", 60
            )
            await asyncio.sleep(0.5)
        first.process.kill()
        relay.relay_to(_address(second))
        (tmp_path / "orders.open").touch()
        await speaking
        await call.listen()
        await call.finish()
        report = call.report()
    words = SENTENCES["slt_order"]
    said = [(line.role, line.text) for line in call.transcript]
    assert said[0] == ("user", words)
    assert said[-1] == ("agent", 'Your order is {"items":["brown sugar milk tea"]}.')
    assert len([role for role, _ in said if role == "user"]) == 1
    done = orders(tmp_path)
    assert len({key for key, *_ in done}) == 1, "a call that is repeated has the same key"
    assert len(done) == (2 if place == "between effect and result" else 1)
    assert report.frames_acked == report.frames_sent


def _address(worker: WorkerProcess) -> tuple[str, int]:
    host, _, port = worker.facts["direct"].rpartition(":")
    return host, int(port)
