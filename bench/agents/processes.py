"""The processes that a call takes: workers, agent hosts, and a vendor behind a relay."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.agents.ways import Way

ROOT: Final = Path(__file__).resolve().parents[2]
_START_TIMEOUT_S: Final = 120.0
_PROGRAM: Final = (sys.executable, "-c", "from voice_gateway.cli.main import main; main()")
_SETTINGS: Final = """
[worker]
name = "{name}"
listen = "127.0.0.1:0"
[tls]
certificate = "leaf.pem"
key = "leaf.key"
[admin]
listen = "127.0.0.1:0"
{agent}
[session]
{store}
"""


class StartError(Exception):
    """A process did not start."""


@dataclass(slots=True)
class Started:
    """A process that has printed its first JSON document, `facts`."""

    process: asyncio.subprocess.Process
    facts: dict[str, Any]

    @property
    def address(self) -> tuple[str, int]:
        """Return where a worker listens."""
        host, _, port = str(self.facts["direct"]).rpartition(":")
        return host, int(port)

    async def kill(self) -> None:
        """Kill it with SIGKILL, and wait for its end."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


async def start_worker(
    way: Way, folder: Path, name: str, vendor_port: int | None, hosts: Sequence[str], *, has_store: bool
) -> Started:
    """Start a worker with this agent; the workers of a folder share its store."""
    config = folder / f"{name}.toml"
    store = f'store = "sqlite:///{folder / "sessions.db"}"' if has_store else ""
    config.write_text(_SETTINGS.format(name=name, agent=way.agent_sections(vendor_port, hosts), store=store))
    environ = {way.key_variable: way.key} if way.key_variable else {}
    return await _start((*_PROGRAM, "serve", "--json", "--config", str(config)), folder, name, environ)


async def start_host(way: Way, folder: Path, name: str, listen: str) -> Started:
    """Start a host of this agent; returns when it listens."""
    if way.host_arguments:
        gate = {"ORDERS_GATE": f"{folder / 'orders'}.open"}
        return await _start(("node", str(ROOT / way.agent), listen, *way.host_arguments), folder, name, gate)
    return await _start((*_PROGRAM, "agent", "run", way.agent, "--json", "--listen", listen), folder, name)


async def start_vendor(way: Way, folder: Path, name: str) -> Started:
    """Start the local vendor of this way."""
    return await _start((sys.executable, "-m", "tests.agents.support.vendor_program", str(way.vendor)), folder, name)


async def _start(
    command: tuple[str, ...], folder: Path, name: str, environ: Mapping[str, str] | None = None
) -> Started:
    log = folder / f"{name}.log"
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "ORDERS": str(folder / "orders"), **(environ or {})}
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=errors, env=variables
        )
    assert process.stdout is not None
    document = b""
    async with asyncio.timeout(_START_TIMEOUT_S):
        while not document.endswith(b"}\n"):
            line = await process.stdout.readline()
            if not line:
                raise StartError(f"{command[-2:]} did not start: {log.read_text()[-2_000:]}")
            document += line
    return Started(process, json.loads(document))


@dataclass(slots=True)
class TcpRelay:
    """Leads connections to `port`; those of a vendor that died end as the kernel ends them."""

    port: int
    listening: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> int:
        """Return the port at which it listens."""
        self.listening = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self.listening.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """End all connections."""
        if self.listening is not None:
            self.listening.close()
        for task in self._tasks:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.transport.abort()
            return
        for source, sink in ((reader, back_writer), (back_reader, writer)):
            task = asyncio.get_running_loop().create_task(_pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()
