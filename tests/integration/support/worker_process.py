"""A worker as an operator runs it: its program, its settings, and what it prints when it has started."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from voice_client import AudioOptions, ConnectionOptions, Security, VoiceClient

PROGRAM = str(Path(sys.executable).with_name("voice-gateway"))
SETTINGS = """
[worker]
name = "worker-1"
listen = "127.0.0.1:0"
[tls]
certificate = "certs/leaf.pem"
key = "certs/leaf.key"
[agent]
name = "echo"
[admin]
listen = "127.0.0.1:0"
[session]
drain_timeout_s = 20
"""


async def run(*arguments: str, **environ: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environ,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
async def config(tmp_path: Path) -> Path:
    status, _, errors = await run("certificate", "--out", str(tmp_path / "certs"))
    assert status == 0, errors
    (tmp_path / "worker.toml").write_text(SETTINGS)
    return tmp_path / "worker.toml"


async def started(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout
    document = line = b""
    while line != b"}\n":
        line = await process.stdout.readline()
        assert line, "the worker did not start"
        document += line
    facts: dict[str, Any] = json.loads(document)
    return facts


def caller(facts: dict[str, Any], config: Path, *, resume_timeout_s: float = 0.0) -> VoiceClient:
    """A caller who stays on one connection, however long a busy machine lets it wait, unless it may resume."""
    return VoiceClient(
        f"https://{facts['direct']}/v1/voice",
        security=Security(ca_file=config.parent / "certs" / "ca.pem"),
        connection=ConnectionOptions(resume_timeout_s=resume_timeout_s),
    )


class WorkerProcess:
    """The process, and what it has logged."""

    def __init__(self, process: asyncio.subprocess.Process, facts: dict[str, Any]) -> None:
        self.process = process
        self.facts = facts
        self.log: list[dict[str, Any]] = []

    async def until(self, event: str) -> dict[str, Any]:
        assert self.process.stderr
        while True:
            line = await asyncio.wait_for(self.process.stderr.readline(), 60)
            assert line, f"the worker ended without {event}"
            self.log.append(json.loads(line))
            if self.log[-1]["event"] == event:
                return self.log[-1]

    async def metrics(self) -> str:
        def get() -> bytes:
            with urllib.request.urlopen(f"http://{self.facts['admin']}/metrics") as answer:
                contents: bytes = answer.read()
                return contents

        return (await asyncio.to_thread(get)).decode()

    def caller(self, ca: Path) -> VoiceClient:
        """A caller who stays on one connection."""
        return VoiceClient(
            f"https://{self.facts['direct']}/v1/voice",
            security=Security(ca_file=ca),
            audio=AudioOptions(has_playback=False, codec="pcm16"),
            connection=ConnectionOptions(resume_timeout_s=0),
        )
