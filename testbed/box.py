"""All workers of one machine, as `voice-gateway up` runs them, and calls on them."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from voice_client import AudioOptions, Security, VoiceClient
from voice_client.audio.source import PcmSource

PROGRAM = str(Path(sys.executable).with_name("voice-gateway"))
PATIENCE_S = 60.0
LOOK_EVERY_S = 0.02


class Box:
    """The supervisor's process; `facts` is what it printed, `state` its folder."""

    def __init__(self, process: asyncio.subprocess.Process, facts: dict[str, Any], state: Path) -> None:
        self.process = process
        self.facts = facts
        self.state = state

    def call(self) -> VoiceClient:
        return VoiceClient(
            f"https://{self.facts['direct']}/v1/voice",
            security=Security(ca_file=self.state / "certificate" / "ca.pem"),
            audio=AudioOptions(codec="pcm16", has_playback=False),
        )

    async def until(self, event: str) -> dict[str, Any]:
        """Return the next line of the log with this event."""
        assert self.process.stderr
        while True:
            line = await asyncio.wait_for(self.process.stderr.readline(), PATIENCE_S)
            assert line, f"the supervisor ended without {event}"
            entry: dict[str, Any] = json.loads(line)
            if entry["event"] == event:
                return entry

    async def workers(self) -> dict[str, int]:
        """The process of each worker that serves, by name."""

        def get() -> dict[str, Any]:
            with urllib.request.urlopen(f"http://{self.facts['admin']}/workers", timeout=20) as answer:
                document: dict[str, Any] = json.loads(answer.read())
                return document

        document = await asyncio.to_thread(get)
        return {each["name"]: each["pid"] for each in document["workers"] if each["state"] == "serving"}

    async def until_workers(self, is_so: Callable[[dict[str, int]], bool]) -> dict[str, int]:
        """Return the workers once they are as asked for."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        found = await self.workers()
        while not is_so(found):
            assert asyncio.get_running_loop().time() < deadline, f"waited in vain: {found}"
            await asyncio.sleep(LOOK_EVERY_S)
            found = await self.workers()
        return found

    async def calls_on_each_worker(self) -> list[VoiceClient]:
        """Place calls until each worker has one, and return those."""
        wanted, found = set(await self.workers()), dict[str, VoiceClient]()
        while found.keys() != wanted:
            call = await self.call().__aenter__()
            if found.setdefault(call.worker or "", call) is not call:
                await call.finish()
                await call.__aexit__(None, None, None)
        return list(found.values())


@asynccontextmanager
async def box(folder: Path, *arguments: str, workers: int = 2, ends_well: bool = True) -> AsyncIterator[Box]:
    """Run `voice-gateway up` with the echo agent on free ports; it must end well, unless the caller kills it."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *("up", "--json", "--log-format", "json", "--workers", str(workers), "--agent", "echo"),
        *("--state", str(folder), "--listen", "127.0.0.1:0", "--page", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    assert process.stdout
    try:
        document = line = b""
        while line != b"}\n":
            line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
            assert line, "the supervisor did not start"
            document += line
        yield Box(process, json.loads(document), folder)
        if not ends_well:
            return
        process.terminate()
        _, errors = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        assert process.returncode == 0, errors.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@asynccontextmanager
async def talking(calls: Sequence[VoiceClient]) -> AsyncIterator[None]:
    """All callers talk meanwhile, and leave in the end, when not a word may be lost and no frame given up."""
    is_over = asyncio.Event()
    speaking = [asyncio.create_task(_talk(call, is_over)) for call in calls]
    await asyncio.sleep(0.5)
    yield
    is_over.set()
    turns = await asyncio.gather(*speaking)
    assert [call.state["utterances"] for call in calls] == turns
    for report in (call.report() for call in calls):
        assert report.error is None
        assert report.is_complete
        assert report.frames_acked == report.frames_sent


async def _talk(call: VoiceClient, is_over: asyncio.Event) -> int:
    """Say one word after the other, and return how many."""
    turns = 0
    while not is_over.is_set():
        await call.speak(PcmSource(_word()))
        turns += 1
    await call.finish()
    await call.__aexit__(None, None, None)
    return turns


def _word() -> bytes:
    """A burst of noise, and a pause that ends a turn."""
    noise = np.random.default_rng(7).normal(0, 4000, 12_800).clip(-32768, 32767).astype("<i2").tobytes()
    return noise + bytes(2 * 16_000)
