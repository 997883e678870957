"""Spoken orders whose process is killed (SIGKILL): a worker with the bridge to GPT-Live, and hosts of heavy agents."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from testbed.waiting import until
from tests.agents.support.all_vendors import DEEPGRAM, GPT_LIVE, Kind, LocalVendor, local_vendor
from tests.agents.support.vendor_voice import SENTENCES, shop_brain
from tests.integration.support.relay import Address, relaying
from tests.integration.support.worker_process import PROGRAM, run, started
from tests.integration.support.workers import calling
from tests.unit.recordings import recording

ROOT = Path(__file__).parents[2]
ORDER = SENTENCES["slt_order"]
LEAD, PAUSE = bytes(32_000), bytes(2 * 16_000 * 2)
WORKER = """
[worker]
name = "worker-{number}"
listen = "127.0.0.1:0"
[tls]
certificate = "leaf.pem"
key = "leaf.key"
[admin]
listen = "127.0.0.1:0"
[session]
store = "sqlite:///{folder}/db"
drain_timeout_s = 1
[agent]
"""


@dataclass(frozen=True)
class Way:
    """A way to bring an agent: `agent` of a worker, or of hosts (`is_hosted`), and what it answers."""

    name: str
    agent: str
    answer: str
    is_hosted: bool = True
    vendor: Kind | None = None
    tool: str = "tests.agents.support.shop_program:add_item_once_open"
    behaviour: dict[str, Any] = field(default_factory=dict)

    def settings(self, vendor: LocalVendor | None) -> str:
        return "" if vendor is None else f'base_url = "{vendor.server.url}"\ntools = ["{self.tool}"]\n'


WAYS = (
    Way(
        "GPT-Live in a worker",
        "gpt-live",
        "Your order is",
        is_hosted=False,
        vendor=GPT_LIVE,
        behaviour={"brain": shop_brain, "pace_s": 0.02},
    ),
    Way("Pipecat in a host", "tests.agents.pipecat.shop:Shop", "Would you like anything else"),
    Way("LiveKit in a host", "tests.agents.livekit.shop:QuickShop", "Would you like anything else"),
    Way(
        "Deepgram in a host",
        "deepgram",
        "Sentence 1: ",
        vendor=DEEPGRAM,
        tool="tests.agents.support.vendors.tools:recorded_order_once_open",
    ),
)


@dataclass
class Cell:
    """The processes of one call: `first` has it, and is killed."""

    way: Way
    folder: Path
    vendor: LocalVendor | None
    stack: AsyncExitStack

    async def start(self) -> tuple[asyncio.subprocess.Process, Address]:
        """Return what has the calls, and where they come in."""
        if not self.way.is_hosted:
            return await self.worker(1)
        host = await self.host(1)
        _, address = await self.worker(1)
        return host, address

    async def start_second(self) -> Address | None:
        """Start what goes on with the call; return where its client has to go, if not to the same worker."""
        if self.way.is_hosted:
            await self.host(2)
            return None
        return (await self.worker(2))[1]

    async def host(self, number: int) -> asyncio.subprocess.Process:
        settings, log = self.folder / "agent.toml", self.folder / f"host-{number}.log"
        settings.write_text(self.way.settings(self.vendor))
        socket = f"unix:{self.folder}/{number}.sock"
        command = ("agent", "run", self.way.agent, "--listen", socket, "--settings", str(settings))
        with log.open("w") as file:
            process = await self._run(*command, "--log-format", "json", stderr=file)
        await until(lambda: "host_started" in log.read_text(), "the host's start", 90)
        return process

    async def worker(self, number: int) -> tuple[asyncio.subprocess.Process, Address]:
        config = self.folder / f"worker-{number}.toml"
        if self.way.is_hosted:
            agent = f'hosts = ["unix:{self.folder}/1.sock", "unix:{self.folder}/2.sock"]\n'
        else:
            agent = f'name = "{self.way.agent}"\n[agent.settings]\n{self.way.settings(self.vendor)}'
        config.write_text(WORKER.format(number=number, folder=self.folder) + agent)
        process = await self._run("serve", "--json", "--config", str(config), stdout=asyncio.subprocess.PIPE)
        host, _, port = str((await asyncio.wait_for(started(process), 90))["direct"]).rpartition(":")
        return process, (host, int(port))

    async def _run(self, *arguments: str, **pipes: Any) -> asyncio.subprocess.Process:
        environ = {"PYTHONPATH": str(ROOT), "ORDERS": str(self.folder / "orders")}
        if self.way.vendor is not None:
            environ[self.way.vendor.key_variable] = self.way.vendor.key
        pipes = {"stderr": sys.stderr, **pipes}
        process = await asyncio.create_subprocess_exec(PROGRAM, *arguments, env=os.environ | environ, **pipes)
        self.stack.push_async_callback(_end, process)
        return process

    def effects(self) -> list[tuple[str, str]]:
        """Return key and item of each effect of the tool."""
        file = self.folder / "orders"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


@asynccontextmanager
async def celled(way: Way) -> AsyncIterator[Cell]:
    folder = Path(tempfile.mkdtemp(prefix="kill-"))  # a socket's path is short
    status, _, errors = await run("certificate", "--out", str(folder))
    assert status == 0, errors
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        vendor = None
        if way.vendor is not None:
            vendor = await stack.enter_async_context(local_vendor(way.vendor, **way.behaviour))
            if way.vendor is DEEPGRAM:
                vendor.server.offers_tools = True
        yield Cell(way, folder, vendor, stack)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", ["in mid-turn", "between effect and result"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_a_spoken_order_survives_the_kill_of_its_process(way: Way, place: str) -> None:
    async with celled(way) as cell:
        if place == "in mid-turn":
            (cell.folder / "orders.open").touch()
        first, address = await cell.start()
        async with relaying(address) as relay, calling(relay, cell.folder) as call:
            other = await cell.start_second()
            speaking = asyncio.create_task(call.speak(LEAD + recording("slt_order") + PAUSE))
            if place == "in mid-turn":
                await asyncio.sleep(2.5)
            else:
                await until(lambda: bool(cell.effects()), "the tool's effect", 60)
            first.kill()
            if other is not None:
                relay.relay_to(other)
            (cell.folder / "orders.open").touch()
            await speaking
            await call.listen()
            await call.finish()
            report = call.report()
        effects = cell.effects()
        said = [(line.role, line.text) for line in call.transcript]
    words = [text for role, text in said if role == "user"]
    assert words == [ORDER], said
    assert said[-1][0] == "agent"
    assert way.answer in said[-1][1], said
    assert len({key for key, _item in effects}) == 1, "a call that is repeated has the same key"
    assert len(effects) == (2 if place == "between effect and result" else 1)
    assert report.frames_acked == report.frames_sent
