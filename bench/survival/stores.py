"""The session stores that calls are saved in, one of them a Redis that can be stopped and started."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.survival.script import SurvivalError

READY_TIMEOUT_S = 10.0


@dataclass(slots=True)
class RedisProcess:
    """A server of its own on a free port, which keeps its data over `stop` and `start`."""

    folder: Path
    port: int = field(init=False)
    _process: asyncio.subprocess.Process | None = None

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Return when it takes connections."""
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            raise SurvivalError("bench-survival needs redis-server; on Debian: apt-get install redis-server")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--appendonly", "yes"]
        self._process = await asyncio.create_subprocess_exec(program, *options, stdout=asyncio.subprocess.DEVNULL)
        async with asyncio.timeout(READY_TIMEOUT_S):
            while not await self._answers():  # noqa: ASYNC110 - another process, which tells nobody
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """End it with SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await process.wait()

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return (await reader.readline()).startswith(b"+PONG")
        finally:
            writer.close()


@asynccontextmanager
async def redis() -> AsyncIterator[RedisProcess]:
    """A server that runs."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisProcess(Path(folder))
        try:
            await server.start()
            yield server
        finally:
            await server.stop()
