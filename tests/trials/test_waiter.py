"""A ten-line agent in a package outside the tree takes a spoken order; its worker is killed in mid-turn."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from testbed.waiting import until
from tests.integration.support.worker_process import PROGRAM, SETTINGS, caller, run, started
from tests.unit.recordings import recording

SOURCE = Path(__file__).parent / "waiter"
PAUSE = bytes(64_000)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outside = tmp_path_factory.mktemp("outside")
    shutil.copytree(SOURCE, outside / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [*command, "--disable-pip-version-check", "--target", str(outside / "site"), str(outside / "source")],
        check=True,
    )
    return outside / "site"


@asynccontextmanager
async def worker(folder: Path, installed: Path, name: str, listen: str) -> AsyncIterator[asyncio.subprocess.Process]:
    config = folder / "worker.toml"
    settings = SETTINGS.replace('name = "echo"', 'name = "waiter"').replace('name = "worker-1"', f'name = "{name}"')
    settings = settings.replace('listen = "127.0.0.1:0"', f'listen = "{listen}"', 1)
    config.write_text(f'{settings}store = "sqlite:///{folder / "sessions.db"}"\n')
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *("serve", "--json", "--config", str(config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(installed), "WAITER_CALLS": str(folder / "calls")},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_spoken_order_survives_a_kill_within_its_turn(installed: Path, tmp_path: Path) -> None:
    status, _, errors = await run("certificate", "--out", str(tmp_path / "certs"))
    assert status == 0, errors
    calls = tmp_path / "calls"
    async with worker(tmp_path, installed, "worker-1", "127.0.0.1:0") as first:
        facts = await started(first)
        async with caller(facts, tmp_path / "worker.toml", resume_timeout_s=60.0) as call:
            await call.listen()
            await call.speak(recording("slt_order") + PAUSE)
            await until(calls.exists)
            acked = call.frames_acked
            first.kill()
            await first.wait()
            async with worker(tmp_path, installed, "worker-2", facts["direct"]) as second:
                await started(second)
                await until(lambda: len(calls.read_text().splitlines()) == 2)
                await until(lambda: len(call.transcript) == 3, "the answer")
                await call.speak(recording("slt_total") + PAUSE)
                await call.finish()
        lines = [(line.role, line.text) for line in call.transcript]
    order = "can i have a brown sugar milk tea with half sugar and grass jelly"
    assert acked > 0, "the words were saved and their frames acked before the kill"
    assert call.worker == "worker-2"
    assert lines == [
        ("agent", "Hi, what can I get you?"),
        ("user", order),
        ("agent", "That makes 1. Anything else?"),
        ("user", "what's the total"),
        ("agent", "That makes 2. Anything else?"),
    ]
    assert call.state == {"items": [order, "what's the total"]}
    keys = calls.read_text().split()
    assert keys[0] == keys[1], "the call that was under way is made again with its key"
    assert len(keys) == 3
