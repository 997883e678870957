"""The example of a host in another language keeps the contract of agents, and its orders survive kills."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from bench.hosts.kills import recording
from tests.integration.hosts.test_hosted_agents import InHost
from voice_gateway.agent.base import Agent, FinalTranscript, Reply, ReplyAudio, ReplyEnded, StateChanged, UserText
from voice_gateway.agent.call.agent import as_agent
from voice_gateway.agents.webhook import WebhookAgent, WebhookSettings
from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.worker.agent import HostedAgent, HostedAgentOptions
from voice_gateway.store.base import Line
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
        self.orders = self._folder / "orders"
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
            env={**os.environ, "ORDERS": str(self.orders)},
        )
        await super().open()

    async def close(self) -> None:
        await super().close()
        if self._process is not None:
            self._process.terminate()
            assert await asyncio.wait_for(self._process.wait(), 30) == 0
        shutil.rmtree(self._folder)


@pytest.mark.skipif(NODE is None, reason="needs Node.js")
class TestNodeEcho(AgentContract):
    def make_agent(self) -> Agent:
        return NodeHosted("echo.mjs")


@pytest.mark.skipif(NODE is None, reason="needs Node.js")
class TestNodeWaiter(AgentContract):
    def make_agent(self) -> Agent:
        return NodeHosted("waiter.mjs", "a taro", "1.5")


@pytest.mark.skipif(NODE is None, reason="needs Node.js")
async def test_an_interruption_ends_the_making_of_a_reply() -> None:
    agent = NodeHosted("waiter.mjs")
    await agent.open()
    try:
        caller = Caller(agent, 20.0)
        caller.conversation.say_again(4_000 * "a")  # 200 s of tones
        await caller.until(lambda: bool(caller.of(ReplyAudio)), "the reply's audio")
        caller.interrupt()
        await caller.finish()
        made_bytes = sum(len(event.pcm) for event in caller.of(ReplyAudio))
        assert 0 < made_bytes < 200 * 32_000
        assert not caller.of(ReplyEnded)
        caller.conversation.close()
    finally:
        await agent.close()


@pytest.mark.skipif(NODE is None, reason="needs Node.js")
async def test_from_each_event_on_a_turn_is_answered_once_and_its_order_has_one_key() -> None:
    """As after a kill at each place: what was emitted up to there is all that the next conversation gets."""
    agent = NodeHosted("waiter.mjs")
    await agent.open()
    try:
        caller = Caller(agent, 20.0)
        caller.conversation.text_received(UserText(0, "a taro"))
        await caller.finish()
        caller.conversation.close()
        (written,) = agent.orders.read_text().splitlines()
        began = next(index for index, event in enumerate(caller.events) if isinstance(event, FinalTranscript))
        repeated = 0
        for count in range(began + 1, len(caller.events)):
            events = caller.events[:count]
            private_state = [
                event.private_state for event in events if isinstance(event, FinalTranscript | StateChanged)
            ][-1]
            assert private_state is not None
            states = [event.state for event in events if isinstance(event, StateChanged) and event.state is not None]
            said = [Line(1, "agent", event.text) for event in events if isinstance(event, Reply)]
            transcript = [Line(1, "user", "a taro"), *said]
            restored = Caller(agent, 20.0, states[-1] if states else None, private_state, transcript)
            await restored.finish()
            assert [line.text for line in said] + [each.text for each in restored.of(Reply)] == ["I have that for you."]
            states += [event.state for event in restored.of(StateChanged) if event.state is not None]
            assert states[-1] == {"order": "a taro"}
            has_result = not private_state["pending"] or any(each["isDone"] for each in private_state["tools"].values())
            repeated += not has_result
            assert agent.orders.read_text().splitlines() == [written] * (1 + repeated), events[-1]
            restored.conversation.close()
        assert repeated == 2, "before and after the intent is saved"
    finally:
        await agent.close()


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
