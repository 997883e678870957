"""The ways to bring an agent, and the processes that a call of each takes: workers, and a vendor behind a relay."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
_START_TIMEOUT_S: Final = 120.0
_SETTINGS: Final = """
[worker]
name = "{name}"
listen = "127.0.0.1:0"
[tls]
certificate = "leaf.pem"
key = "leaf.key"
[agent]
name = "{agent}"
{agent_settings}
[session]
{store}
"""
_BRIDGES: Final = "voice_gateway.agents.bridges"
_ORDER: Final = "can i have a brown sugar milk tea with half sugar and grass jelly"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to bring an agent.

    `answered` is a part of the answer to the order, `key_variable` where the vendor's key is read from, `vendor` the
    name of the local vendor, where there is one.
    """

    name: str
    agent: str
    answered: str
    words: str = _ORDER
    vendor: str | None = None
    key_variable: str = ""
    key: str = "secret-key"
    scheme: str = "ws"
    path: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    tool: str = "tests.agents.support.vendors.tools:recorded_order_once_open"

    def agent_settings(self, vendor_port: int | None) -> str:
        """Return the section `[agent.settings]`, empty for an agent that needs none."""
        if vendor_port is None:
            return ""
        lines = [f'{key} = "{value}"' for key, value in self.settings.items()]
        url = f"{self.scheme}://127.0.0.1:{vendor_port}{self.path}"
        return "\n".join(("[agent.settings]", f'base_url = "{url}"', f'tools = ["{self.tool}"]', *lines))


WAYS: Final = (
    Way("call agent", "bench.agents.waiter:Waiter", "I have that"),
    Way("Pipecat", "tests.agents.pipecat.shop:Shop", "anything else with it today?"),
    Way("LiveKit", "tests.agents.livekit.shop:QuickShop", "anything else with it today?"),
    Way(
        "OpenAI Realtime",
        f"{_BRIDGES}.openai_realtime:OpenAIRealtimeAgent",
        "Your order is",
        vendor="openai",
        key_variable="OPENAI_API_KEY",
        key="sk-local",
        path="/v1",
        tool="tests.agents.support.shop_program:add_item_once_open",
    ),
    Way(
        "Deepgram",
        f"{_BRIDGES}.deepgram:DeepgramAgent",
        "Sentence",
        vendor="deepgram",
        key_variable="DEEPGRAM_API_KEY",
    ),
    Way(
        "ElevenLabs",
        f"{_BRIDGES}.elevenlabs:ElevenLabsAgent",
        "Sentence",
        vendor="elevenlabs",
        key_variable="ELEVENLABS_API_KEY",
        scheme="http",
        settings={"agent_id": "agent"},
    ),
    Way(
        "Gemini",
        f"{_BRIDGES}.gemini:GeminiAgent",
        "Sentence",
        vendor="gemini",
        key_variable="GEMINI_API_KEY",
        settings={"model": "gemini-live"},
    ),
)
FORGETFUL: Final = Way("call agent without journal", "bench.agents.waiter:ForgetfulWaiter", "I have that")


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


async def start_worker(way: Way, folder: Path, name: str, vendor_port: int | None, *, has_store: bool) -> Started:
    """Start a worker with this agent; the workers of a folder share its store."""
    config = folder / f"{name}.toml"
    store = f'store = "sqlite:///{folder / "sessions.db"}"' if has_store else ""
    config.write_text(
        _SETTINGS.format(name=name, agent=way.agent, agent_settings=way.agent_settings(vendor_port), store=store)
    )
    environ = {"ORDERS": str(folder / "orders")} | ({way.key_variable: way.key} if way.key_variable else {})
    program = (sys.executable, "-c", "from voice_gateway.cli.main import main; main()")
    return await _start((*program, "serve", "--json", "--config", str(config)), environ, folder / f"{name}.log")


async def start_vendor(way: Way, folder: Path, name: str) -> Started:
    """Start the local vendor of this way."""
    command = (sys.executable, "-m", "tests.agents.support.vendor_program", str(way.vendor))
    return await _start(command, {}, folder / f"{name}.log")


async def _start(command: tuple[str, ...], environ: Mapping[str, str], log: Path) -> Started:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
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
                raise StartError(f"{command[-2:]} did not start, see {log}")
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
