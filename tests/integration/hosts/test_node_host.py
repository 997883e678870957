"""The example of a host in another language keeps the contract of agents."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest

from voice_gateway.agent.base import Agent
from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.worker.agent import HostedAgent, HostedAgentOptions
from voice_gateway.testing.agents import AgentContract

NODE = shutil.which("node")
SCRIPT = Path(__file__).parents[3] / "gateway" / "examples" / "node_host.mjs"


class NodeHosted(HostedAgent):
    """The echo of the example, in a process of Node.js."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._process: asyncio.subprocess.Process | None = None
        super().__init__(HostedAgentOptions([(HostAddress(self._folder / "agents.sock"), HostCredentials())]))
        self.input_rate_hz = self.output_rate_hz = 16_000

    async def open(self) -> None:
        assert NODE is not None
        listen = f"unix:{self._folder / 'agents.sock'}"
        self._process = await asyncio.create_subprocess_exec(NODE, str(SCRIPT), listen)
        await super().open()

    async def close(self) -> None:
        await super().close()
        if self._process is not None:
            self._process.terminate()
            assert await asyncio.wait_for(self._process.wait(), 10) == 0
        shutil.rmtree(self._folder)


@pytest.mark.skipif(NODE is None, reason="needs Node.js")
class TestNodeHost(AgentContract):
    def make_agent(self) -> Agent:
        return NodeHosted()
