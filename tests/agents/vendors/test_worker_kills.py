"""Spoken orders through workers that are killed, by the bridges to Deepgram, ElevenLabs and Gemini."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from testbed.waiting import until
from tests.agents.support.vendors import tools
from tests.agents.support.vendors.server import KEY, VendorServer, vendor_server
from tests.agents.vendors.test_bridges import CASES, DEEPGRAM, ELEVENLABS, ORDER, TOTAL, Case
from tests.integration.support.relay import relaying
from tests.integration.support.worker_process import PROGRAM, WorkerProcess, run, started
from tests.integration.support.workers import calling
from tests.unit.recordings import recording
from voice_gateway.agent.cascade.cascade import Cascade

SETTINGS = """
[worker]
name = "{name}"
listen = "127.0.0.1:0"
[tls]
certificate = "leaf.pem"
key = "leaf.key"
[agent]
name = "{agent}"
[agent.settings]
base_url = "{url}"
tools = ["{tool}"]
{needed}
[admin]
listen = "127.0.0.1:0"
[session]
store = "sqlite:///{store}"
drain_timeout_s = 1
"""
ROOT = Path(__file__).parents[3]
LEAD, PAUSE = bytes(16_000), bytes(2 * 16_000 * 2)


@asynccontextmanager
async def worker(folder: Path, name: str, case: Case, server: VendorServer, tool: str) -> AsyncIterator[WorkerProcess]:
    settings = folder / f"{name}.toml"
    needed = "\n".join(f'{key} = "{value}"' for key, value in case.needed.items())
    given = {"url": case.url(server), "tool": f"{tools.__name__}:{tool}", "needed": needed}
    settings.write_text(
        SETTINGS.format(name=name, agent=case.key_variable.partition("_")[0].lower(), store=folder / "db", **given)
    )
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        "serve",
        "--json",
        "--config",
        str(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, case.key_variable: KEY, "PYTHONPATH": str(ROOT), "ORDERS": str(folder / "orders")},
    )
    try:
        yield WorkerProcess(process, await asyncio.wait_for(started(process), 60))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def orders(folder: Path) -> list[tuple[str, str]]:
    """Return key and words of each call of the tool."""
    file = folder / "orders"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


@pytest.mark.parametrize(
    ("case", "place"),
    [
        (DEEPGRAM, "between effect and result"),
        *(
            pytest.param(case, "between effect and result", marks=pytest.mark.slow)
            for case in CASES
            if case is not DEEPGRAM
        ),
        *(pytest.param(case, "in mid-speech", marks=pytest.mark.slow) for case in CASES),
        pytest.param(DEEPGRAM, "in mid-answer", marks=pytest.mark.slow),
    ],
    ids=lambda each: each.vendor.name if isinstance(each, Case) else each,
)
async def test_an_order_survives_the_kill_of_its_worker(ears: Cascade, tmp_path: Path, case: Case, place: str) -> None:
    status, _, errors = await run("certificate", "--out", str(tmp_path))
    assert status == 0, errors
    tool = "recorded_order_once_open" if place == "between effect and result" else "recorded_order"
    async with vendor_server(ears, case.kind) as server:
        server.offers_tools = True
        async with (
            worker(tmp_path, "w-1", case, server, tool) as first,
            worker(tmp_path, "w-2", case, server, tool) as second,
            relaying(_address(first)) as relay,
            calling(relay, tmp_path) as call,
        ):
            speech = LEAD + recording("slt_order") + PAUSE
            if place == "in mid-answer":
                speech += bytes(32_000) + recording("slt_total") + PAUSE
            speaking = asyncio.create_task(call.speak(speech))
            if place == "in mid-speech":
                await asyncio.sleep(2.0)
            else:
                await until(lambda: bool(orders(tmp_path)), "the tool's effect", 60)
            if place == "in mid-answer":
                await asyncio.sleep(0.7)
            first.process.kill()
            relay.relay_to(_address(second))
            (tmp_path / "orders.open").touch()
            await speaking
            await call.listen()
            await call.finish()
            report = call.report()
        assert server.violations == []
    said = [(line.role, line.text) for line in call.transcript]
    done = orders(tmp_path)
    assert [text for role, text in said if role == "user"] == ([ORDER, TOTAL] if place == "in mid-answer" else [ORDER])
    assert dict.fromkeys(words for _key, words in done) == dict.fromkeys(
        [ORDER, TOTAL] if place == "in mid-answer" else [ORDER]
    )
    assert len({key for key, _words in done}) == len(dict.fromkeys(done)), "a repeated call has the same key"
    assert len([words for _key, words in done if words == ORDER]) == (2 if "effect" in place else 1)
    assert said[-1][0] == "agent"
    if case is not ELEVENLABS:  # which takes no history
        assert said[-1][1].startswith(f"Sentence {2 if place == 'in mid-answer' else 1}: ")
    assert report.frames_acked == report.frames_sent


def _address(worker: WorkerProcess) -> tuple[str, int]:
    host, _, port = worker.facts["direct"].rpartition(":")
    return host, int(port)
