"""The example of a host in another language keeps the contract of agents, and its orders survive kills."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.hosts.kills import recording
from tests.integration.hosts.test_hosted_agents import InHost
from voice_gateway.agent.base import Agent, FinalTranscript, Reply, ReplyEnded
from voice_gateway.agent.call.agent import as_agent
from voice_gateway.agents.webhook import WebhookAgent, WebhookSettings
from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.worker.agent import HostedAgent, HostedAgentOptions
from voice_gateway.testing.agents import AgentContract, Caller

PAUSE = bytes(32_000 * 3)
NODE = shutil.which("node")
ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "gateway" / "examples"


class NodeHosted(HostedAgent):
    """An agent of the example, in a process of Node.js."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self._folder = Path(tempfile.mkdtemp())
        self._process: asyncio.subprocess.Process | None = None
        super().__init__(HostedAgentOptions([(HostAddress(self._folder / "agents.sock"), HostCredentials())]))
        self.input_rate_hz = self.output_rate_hz = 16_000

    async def open(self) -> None:
        assert NODE is not None
        program, *arguments = self._command
        self._process = await asyncio.create_subprocess_exec(
            NODE,
            str(EXAMPLES / "node_host" / program),
            f"unix:{self._folder / 'agents.sock'}",
            *arguments,
            stdout=asyncio.subprocess.DEVNULL,
            env={**os.environ, "ORDERS": str(self._folder / "orders")},
        )
        await super().open()

    async def close(self) -> None:
        await super().close()
        if self._process is not None:
            self._process.terminate()
            assert await asyncio.wait_for(self._process.wait(), 10) == 0
        shutil.rmtree(self._folder)


@pytest.mark.skipif(NODE is None, reason="needs Node.js")
class TestNodeEcho(AgentContract):
    def make_agent(self) -> Agent:
        return NodeHosted("echo.mjs")


@pytest.mark.skipif(NODE is None, reason="needs Node.js")
class TestNodeWaiter(AgentContract):
    def make_agent(self) -> Agent:
        return NodeHosted("waiter.mjs", "a taro", "1.5")


async def started(port: int = 0) -> tuple[asyncio.subprocess.Process, str]:
    """Start the webhook that takes orders; returns its process and URL."""
    assert NODE is not None
    process = await asyncio.create_subprocess_exec(
        NODE, str(EXAMPLES / "webhook_order.mjs"), str(port), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    return process, f"http://127.0.0.1:{int(await process.stdout.readline())}/"


@pytest.mark.skipif(NODE is None, reason="needs Node.js")
async def test_a_spoken_order_is_taken_in_node_and_survives_the_kill_of_its_server() -> None:
    (first, first_url), (second, second_url) = await started(), await started()
    menu = ROOT / "gateway/src/voice_gateway/agents/order/menu.toml"
    agent = InHost(as_agent(WebhookAgent(WebhookSettings(urls=[first_url, second_url], menu=menu))))
    await agent.open()
    try:
        caller = Caller(agent, 60.0)
        caller.conversation.greet()
        await caller.until(lambda: bool(caller.of(ReplyEnded)), "the greeting")
        await caller.say(recording("slt_order") + PAUSE)
        await caller.until(lambda: len(caller.of(ReplyEnded)) == 2, "the answer to the order")
        first.kill()
        await caller.say(recording("slt_total") + PAUSE)
        await caller.until(lambda: len(caller.of(ReplyEnded)) == 3, "the total")
        assert [turn.text for turn in caller.of(FinalTranscript)] == [
            "can i have a brown sugar milk tea with half sugar and grass jelly",
            "what's the total",
        ]
        assert [reply.text for reply in caller.of(Reply)] == [
            "Hi, what can I get you?",
            "I have 1 milk tea. Anything else?",
            "That makes 4.50 dollars. Anything else?",
        ]
        caller.conversation.close()
    finally:
        await agent.close()
        for process in (first, second):
            if process.returncode is None:
                process.kill()
            await process.wait()
