"""An agent in a host keeps the contract of agents, as it does in the worker."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from voice_gateway.agent.base import Agent
from voice_gateway.agents.echo import EchoAgent, PcmuEchoAgent
from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.process.server import HostServer
from voice_gateway.hosts.worker.agent import HostedAgent, HostedAgentOptions
from voice_gateway.testing.agents import AgentContract


class InHost(HostedAgent):
    """An agent in a host of this process, over a unix socket."""

    def __init__(self, agent: Agent) -> None:
        self._held = agent
        self._folder = Path(tempfile.mkdtemp())
        address = HostAddress(self._folder / "agents.sock")
        self.address = address
        self.server: HostServer | None = None
        super().__init__(HostedAgentOptions([(address, HostCredentials())]))
        self.input_rate_hz, self.output_rate_hz = agent.input_rate_hz, agent.output_rate_hz
        self.audio_format = agent.audio_format

    async def open(self) -> None:
        await self._held.open()
        self.server = HostServer(self._held, self.address, HostCredentials())
        await self.server.start()
        await super().open()

    async def close(self) -> None:
        await super().close()
        if self.server is not None:
            await self.server.stop()
        await self._held.close()
        shutil.rmtree(self._folder)


class TestEchoInHost(AgentContract):
    def make_agent(self) -> Agent:
        return InHost(EchoAgent())


class TestPcmuEchoInHost(AgentContract):
    def make_agent(self) -> Agent:
        return InHost(PcmuEchoAgent())
