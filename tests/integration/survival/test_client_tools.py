"""Client tools over real connections: a worker is killed, or a connection dies, between an effect and its result."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.integration.support.relay import Relay, relaying
from tests.integration.support.worker_process import PROGRAM, WorkerProcess, started
from tests.integration.support.workers import calling
from voice_client import AppMessage, Resumed, VoiceClient
from voice_gateway.certificates.development import ensure_certificate

ROOT = Path(__file__).parents[3]
SETTINGS = """
[worker]
name = "{name}"
listen = "127.0.0.1:0"
[tls]
certificate = "certs/leaf.pem"
key = "certs/leaf.key"
[agent]
name = "tests.integration.support.programs.guide:{agent}"
[session]
store = "sqlite:///{folder}/sessions.db"
"""
TIMEOUT_S = 30.0


class Places:
    """The client's tool; its effect is counted before it goes on."""

    def __init__(self) -> None:
        self.effects = 0
        self.has_effect = asyncio.Event()
        self.may_return = asyncio.Event()

    async def where(self, accuracy_m: int) -> dict[str, Any]:
        self.effects += 1
        self.has_effect.set()
        await self.may_return.wait()
        return {"lat": 52.5, "accuracy_m": accuracy_m}


@asynccontextmanager
async def serving(folder: Path, name: str, agent: str = "Guide") -> AsyncIterator[WorkerProcess]:
    ensure_certificate(folder / "certs", now=time.time())
    (folder / f"{name}.toml").write_text(SETTINGS.format(name=name, folder=folder, agent=agent))
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *("serve", "--json", "--config", str(folder / f"{name}.toml")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        yield WorkerProcess(process, await started(process))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def address(worker: WorkerProcess) -> tuple[str, int]:
    host, port = worker.facts["direct"].rsplit(":", 1)
    return host, int(port)


@asynccontextmanager
async def asked(folder: Path) -> AsyncIterator[tuple[VoiceClient, Places, Relay, WorkerProcess, WorkerProcess]]:
    """A call whose agent has asked for a place, at the first of two workers: the tool has had its effect."""
    places = Places()
    async with (
        serving(folder, "w-1") as first,
        serving(folder, "w-2") as second,
        relaying(address(first)) as relay,
    ):
        client = calling(relay, folder / "certs", has_playback=False)
        client.tool(places.where)
        async with client as call, asyncio.timeout(TIMEOUT_S):
            call.send_text("Where am I?")
            await places.has_effect.wait()
            yield call, places, relay, first, second


async def goes_on(call: VoiceClient, resumed_at: str) -> list[Any]:
    """Return what the agent sent, once the call was resumed and the answer's message is there."""
    messages, workers = [], []
    async for event in call.events():
        if isinstance(event, Resumed) and event.has_reconnected:
            workers.append(event.worker)
        elif isinstance(event, AppMessage):
            messages.append(event.data)
            break
    assert resumed_at in workers
    return messages


async def test_a_worker_that_is_killed_between_a_tools_effect_and_its_result(tmp_path: Path) -> None:
    async with asked(tmp_path) as (call, places, relay, first, second):
        first.process.kill()
        await first.process.wait()
        places.may_return.set()
        relay.relay_to(address(second))
        assert await goes_on(call, "w-2") == [{"places": 1}]
        await call.finish()
        assert call.state == {"places": [["Where am I?", 52.5]]}
    assert places.effects == 1
    lines = [(line.role, line.text) for line in call.transcript]
    assert lines == [("user", "Where am I?"), ("agent", "Found.")]


async def test_a_connection_that_dies_between_a_tools_effect_and_its_result(tmp_path: Path) -> None:
    async with asked(tmp_path) as (call, places, relay, _first, _second):
        relay.cut()
        places.may_return.set()
        assert await goes_on(call, "w-1") == [{"places": 1}]
        await call.finish()
        assert call.state == {"places": [["Where am I?", 52.5]]}
    assert places.effects == 1


async def test_a_result_that_the_worker_took_to_its_death_is_given_again(tmp_path: Path) -> None:
    """The worker stops before the result comes, so that it is received by the kernel and by no session."""
    async with asked(tmp_path) as (call, places, relay, first, second):
        relay.swallowed_hosts.add("127.0.0.1")
        places.may_return.set()
        await asyncio.sleep(0.1)
        first.process.kill()
        await first.process.wait()
        relay.swallowed_hosts.clear()
        relay.relay_to(address(second))
        assert await goes_on(call, "w-2") == [{"places": 1}]
        call.send_text("And now?")
        async for event in call.events():
            if isinstance(event, AppMessage) and event.data == {"places": 2}:
                break
        await call.finish()
        assert call.state == {"places": [["Where am I?", 52.5], ["And now?", 52.5]]}
    assert places.effects == 2


async def test_the_command_types_its_texts_and_the_lines_of_its_input(tmp_path: Path) -> None:
    async with serving(tmp_path, "w-1", "Parrot") as worker:
        command = await asyncio.create_subprocess_exec(
            *(
                str(Path(PROGRAM).with_name("voice-client")),
                "call",
                "--url",
                f"https://{worker.facts['direct']}/v1/voice",
            ),
            *("--ca", str(tmp_path / "certs" / "ca.pem"), "--no-playback", "--type", "two teas", "--type", "-"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(TIMEOUT_S):
            out, err = await command.communicate(b"and a cake\n\n")
    assert (command.returncode, err) == (0, b"")
    for line in ("you  two teas", "agent  You typed two teas.", "you  and a cake", 'message: {"typed": "and a cake"}'):
        assert line in out.decode()
