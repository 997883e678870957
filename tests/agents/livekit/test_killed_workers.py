"""A LiveKit agent whose worker is killed (SIGKILL) in the middle of a turn: another worker goes on with the call."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from testbed.waiting import until
from tests.agents.livekit.calls import recording
from tests.agents.livekit.parts import said
from tests.agents.livekit.shop import GREETING
from tests.integration.support.relay import Relay, relaying
from tests.integration.support.worker_process import PROGRAM, run, started
from voice_client import AudioOptions, Security, VoiceClient

ROOT = Path(__file__).parents[3]
SILENCE = bytes(16_000 * 2 * 120)
SETTINGS = """
[worker]
name = "worker-{number}"
listen = "127.0.0.1:0"
[tls]
certificate = "certs/leaf.pem"
key = "certs/leaf.key"
[agent]
name = "tests.agents.livekit.shop:Shop"
[session]
store = "sqlite:///{folder}/sessions.db"
"""


@asynccontextmanager
async def worker(folder: Path, number: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, tuple[str, int]]]:
    config = folder / f"worker-{number}.toml"
    config.write_text(SETTINGS.format(number=number, folder=folder))
    environ = os.environ | {"PYTHONPATH": str(ROOT), "SHOP_FOLDER": str(folder)}
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        "serve",
        "--json",
        "--config",
        str(config),
        stdout=asyncio.subprocess.PIPE,
        stderr=sys.stderr,
        env=environ,
    )
    try:
        host, port = str((await started(process))["direct"]).rsplit(":", 1)
        yield process, (host, int(port))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def record(folder: Path) -> dict[str, Any]:
    """What the store holds of the only session."""
    with sqlite3.connect(folder / "sessions.db", timeout=30.0) as database:
        rows = database.execute("SELECT * FROM sessions").fetchall()
    (blob,) = [each for each in rows[0] if isinstance(each, bytes)]
    found: dict[str, Any] = msgspec.msgpack.decode(blob)
    return found


def history(folder: Path) -> list[tuple[str, str]]:
    """What is saved of the conversation as the model knows it: LiveKit adds what was played."""
    chat = record(folder)["private_state"].get("livekit", {}).get("chat")
    return [] if chat is None else said(chat)


def lines(call: VoiceClient, role: str) -> list[str]:
    return [line.text for line in call.transcript if line.role == role]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "point", ["tool", *(pytest.param(each, marks=pytest.mark.slow) for each in ("model", "answer"))]
)
async def test_the_next_worker_answers_with_the_right_history(point: str, tmp_path: Path) -> None:
    (tmp_path / f"slow-{point}").touch()
    assert (await run("certificate", "--out", str(tmp_path / "certs")))[0] == 0
    async with (
        worker(tmp_path, 1) as (first, address),
        worker(tmp_path, 2) as (_, other),
        relaying(address) as relay,
        VoiceClient(
            f"https://127.0.0.1:{relay.port}/v1/voice",
            security=Security(ca_file=tmp_path / "certs" / "ca.pem"),
            audio=AudioOptions(codec="pcm16"),
        ) as call,
    ):
        await until(lambda: GREETING in lines(call, "agent"), "the greeting", 60)
        await until(lambda: history(tmp_path) == [("assistant", GREETING)], "the end of the greeting", 60)
        speaking = asyncio.create_task(call.speak(recording("slt_order") + SILENCE))
        await _kill_at(point, call, first, relay, other, tmp_path)
        await until(lambda: "Would you like anything else with it today?" in lines(call, "agent")[-1], "the answer", 60)
        await until(lambda: "pending" not in record(tmp_path)["private_state"], "the turn's end", 60)
        speaking.cancel()
        kept = record(tmp_path)
    texts = {each: [line["text"] for line in kept["transcript"] if line["role"] == each] for each in ("agent", "user")}
    (order,) = texts["user"]
    keys = (tmp_path / "effects").read_text().split()
    assert " ".join(texts["agent"]) == (
        f"{GREETING} Let me write that down. "
        "I have a brown sugar milk tea for you. Would you like anything else with it today?"
    )
    assert len(keys) == (2 if point == "tool" else 1)
    assert len(set(keys)) == 1
    assert said(kept["private_state"]["livekit"]["chat"]) == [
        ("assistant", GREETING),
        ("user", order),
        ("assistant", "Let me write that down."),
        ("assistant", "I have a brown sugar milk tea for you. Would you like anything else with it today?"),
    ]


async def _kill_at(
    point: str,
    call: VoiceClient,
    first: asyncio.subprocess.Process,
    relay: Relay,
    other: tuple[str, int],
    folder: Path,
) -> None:
    if point == "answer":
        await until(lambda: any(text.startswith("I have") for text in lines(call, "agent")), "the answer", 60)
        await asyncio.sleep(0.5)
    else:
        await until((folder / f"waiting-{point}").exists, f"the worker came to the {point}", 60)
        await asyncio.sleep(0.3)
    first.send_signal(signal.SIGKILL)
    relay.relay_to(other)
