"""A worker, its agent hosts and a caller, each a process or a connection of its own, in one folder."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from voice_client import Security, VoiceClient
from voice_gateway.certificates.development import ensure_certificate

ROOT: Final = Path(__file__).resolve().parents[2]
PROGRAM: Final = (sys.executable, "-c", "from voice_gateway.cli.main import main; main()")
CONTROL_PROGRAM: Final = (sys.executable, "-m", "bench.hosts.worker_without_replay")
SETTINGS: Final = """
[worker]
name = "worker-1"
listen = "127.0.0.1:0"
[tls]
certificate = "certs/leaf.pem"
key = "certs/leaf.key"
[admin]
listen = "127.0.0.1:0"
[session]
"""
_START_TIMEOUT_S: Final = 120.0


class CellError(Exception):
    """A process did not start, or ended."""


@dataclass(slots=True)
class Cell:
    """Its `hosts` listen at `agents-0.sock` and so on. Use `start`, and `stop` in any case."""

    folder: Path
    agent: str = "bench.hosts.waiter:KilledWaiter"
    host_count: int = 2
    has_spare: bool = False
    """The last host is hidden from the worker until `reveal`, so that all calls are at the others."""
    settings: str = ""
    """More of the worker's settings; those of `[agent]` unless it has hosts."""
    program: Sequence[str] = PROGRAM
    environ: Mapping[str, str] = field(default_factory=dict)
    worker: asyncio.subprocess.Process | None = None
    hosts: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    started: list[asyncio.subprocess.Process] = field(default_factory=list)
    hidden: set[int] = field(default_factory=set)

    async def start(self) -> None:
        """Start the hosts and the worker; returns when calls are taken."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ensure_certificate(self.folder / "certs", now=time.time())
        if self.has_spare:
            self.hidden.add(self.host_count - 1)
        await asyncio.gather(*(self.start_host(index) for index in range(self.host_count)))
        await self.start_worker()

    async def start_worker(self) -> None:
        """Start the worker."""
        addresses = [f"unix:{self.socket(index)}" for index in range(self.host_count)]
        hosts = f"[agent.hosts]\naddresses = {json.dumps(addresses)}\n" if addresses else ""
        config = self.folder / "worker.toml"
        store = f'store = "sqlite:///{self.folder / "sessions.db"}"\n'
        config.write_text(f"{SETTINGS}{store}{hosts}{self.settings}")
        command = (*self.program, "serve", "--json", "--config", str(config), "--log-format", "json")
        self.worker, self.facts = await self._started(command, "worker.log")

    async def start_host(self, index: int) -> None:
        """Start one host; returns when it listens."""
        path = self.socket(index, is_hidden=index in self.hidden)
        command = (*PROGRAM, "agent", "run", self.agent, "--json", "--listen", f"unix:{path}")
        self.hosts[index], _ = await self._started((*command, "--log-format", "json"), f"host-{index}.log")

    def socket(self, index: int, *, is_hidden: bool = False) -> Path:
        """Return where a host listens."""
        return self.folder / f"agents-{index}.{'hidden' if is_hidden else 'sock'}"

    async def stop(self) -> None:
        """End all processes."""
        for process in self.started:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
        await asyncio.gather(*(process.wait() for process in self.started))

    async def revive(self) -> None:
        """Start the hosts that have ended, hidden where there is a spare one, and wait until the others are ready."""
        for index, process in list(self.hosts.items()):
            if process.returncode is not None:
                if self.has_spare:
                    self.hidden.add(index)
                await self.start_host(index)
        await self._ready()

    async def reveal(self) -> None:
        """Let the worker find the hidden hosts, and wait until it has."""
        for index in tuple(self.hidden):
            self.socket(index, is_hidden=True).replace(self.socket(index))
            self.hidden.discard(index)
        await self._ready()

    async def _ready(self) -> None:
        async with asyncio.timeout(_START_TIMEOUT_S):
            while (await self.metrics()).count('state="ready"} 1.0') < len(self.hosts) - len(self.hidden):  # noqa: ASYNC110 - processes
                await asyncio.sleep(0.1)

    async def metrics(self) -> str:
        """Return the worker's metrics."""

        def get() -> bytes:
            with urllib.request.urlopen(f"http://{self.facts['admin']}/metrics") as answer:
                contents: bytes = answer.read()
                return contents

        return (await asyncio.to_thread(get)).decode()

    def caller(self) -> VoiceClient:
        """Return a client of the worker, not yet connected."""
        url = f"https://{self.facts['direct']}/v1/voice"
        return VoiceClient(url, security=Security(ca_file=self.folder / "certs" / "ca.pem"))

    def lines(self, name: str) -> list[list[str]]:
        """Return what agents have noted."""
        path = self.folder / name
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    async def _started(self, command: Sequence[str], log: str) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
        environ = {**os.environ, "HOSTS_BENCH": str(self.folder), "PYTHONPATH": str(ROOT), **self.environ}
        with (self.folder / log).open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=errors, env=environ
            )
        self.started.append(process)
        assert process.stdout is not None
        document = b""
        async with asyncio.timeout(_START_TIMEOUT_S):
            while not document.endswith(b"}\n"):
                line = await process.stdout.readline()
                if not line:
                    tail = (self.folder / log).read_text()[-2_000:]
                    raise CellError(f"{command[-3:]} did not start: {tail}")
                document += line
        facts: dict[str, Any] = json.loads(document)
        return process, facts
