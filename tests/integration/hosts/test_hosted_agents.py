"""An agent in a host keeps the contract of agents, and has all events that it would have in the worker."""

from __future__ import annotations

import asyncio
import inspect
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.hosts.kills import recording
from tests.unit.voice_gateway.agent.call.test_contract import Waiter
from voice_gateway.agent.base import (
    Agent,
    AppMessage,
    AudioFormat,
    ClientToolResult,
    Conversation,
    Emit,
    PlaybackFinished,
    Reply,
    ReplyAudio,
    ReplyEnded,
    SessionView,
    StateChanged,
    UserAudio,
    UserText,
)
from voice_gateway.agent.call.agent import as_agent
from voice_gateway.agents.echo import EchoAgent, PcmuEchoAgent
from voice_gateway.agents.order.agent import OrderAgent
from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.process.server import HostServer
from voice_gateway.hosts.worker.agent import HostedAgent, HostedAgentOptions
from voice_gateway.testing.agents import AgentContract
from voicelink.audio.codecs.opus_slots import EMPTY_SLOT, slot_of


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


class TestCallAgentInHost(AgentContract):
    def make_agent(self) -> Agent:
        return InHost(as_agent(Waiter()))


class PacketEcho(Agent):
    """Says each frame of Opus back."""

    name = "packets"
    audio_format = AudioFormat.OPUS

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        conversation = Conversation(emit)

        def hear(audio: UserAudio) -> None:
            emit(Reply(""))
            emit(ReplyAudio(audio.pcm))

        conversation.hear = hear  # type: ignore[method-assign]
        return conversation


async def test_packets_of_opus_come_back_as_they_were() -> None:
    audio = slot_of(b"one") + EMPTY_SLOT + slot_of(bytes(range(200)))
    agent = InHost(PacketEcho())
    await agent.open()
    try:
        emitted: list[object] = []
        conversation = agent.converse(emitted.append, None)
        conversation.opened(SessionView("s-1", 0, {}, tuple, lambda: True))
        conversation.hear(UserAudio(1, audio))
        async with asyncio.timeout(20):
            while len(emitted) < 2:  # noqa: ASYNC110 - another thread
                await asyncio.sleep(0.01)
        assert emitted == [Reply(""), ReplyAudio(audio)]
    finally:
        await agent.close()


class TestOrderInHost(AgentContract):
    timeout_s = 60.0

    def make_agent(self) -> Agent:
        return InHost(as_agent(OrderAgent()))

    def utterance(self) -> bytes:
        return recording("slt_total")


class Recording(Agent):
    """Notes each method that its conversations are called by, with the arguments."""

    name = "recording"

    def __init__(self) -> None:
        self.calls: dict[str, tuple[Any, ...]] = {}

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        conversation = Conversation(emit)
        for name in METHODS:
            setattr(conversation, name, self._noting(name, emit))
        return conversation

    def _noting(self, name: str, emit: Emit) -> Callable[..., None]:
        def note(*arguments: Any) -> None:
            self.calls[name] = arguments
            if name.startswith("greet"):
                emit(StateChanged(checkpoint=1))
                emit(Reply("hello"))
                emit(ReplyEnded())

        return note


METHODS = [
    name for name, _ in inspect.getmembers(Conversation, inspect.isfunction) if name[0] != "_" and name != "emit"
]
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "greet": (),
    "greet_again": (),
    "app_message_received": (AppMessage(1, {"a": [1]}),),
    "client_tool_returned": (ClientToolResult("k", None, "no", 2),),
    "hear": (UserAudio(3, bytes(640)),),
    "interrupted": (20,),
    "played": (20,),
    "playback_finished": (PlaybackFinished("hello", 20, True),),
    "pressed": ("5",),
    "say_again": ("hello",),
    "saved": (1,),
    "text_received": (UserText(3, "tea"),),
    "finish": (),
    "close": (),
}


async def test_each_method_of_a_conversation_reaches_the_agent_in_its_host() -> None:
    """A method that is added to `Conversation` needs a message of the host protocol, and a line here."""
    assert set(ARGUMENTS) == set(METHODS) - {"opened"}
    recording = Recording()
    agent = InHost(recording)
    await agent.open()
    try:
        emitted: list[object] = []
        conversation = agent.converse(emitted.append, None)
        conversation.opened(SessionView("s-1", 0, {}, tuple, lambda: True))
        for name, arguments in ARGUMENTS.items():
            replies = emitted.count(ReplyEnded())
            getattr(conversation, name)(*arguments)
            async with asyncio.timeout(20):
                while (  # noqa: ASYNC110 - another thread
                    name not in recording.calls or (emitted.count(ReplyEnded()) == replies and name.startswith("greet"))
                ):
                    await asyncio.sleep(0.01)
        del recording.calls["opened"]
        assert recording.calls == ARGUMENTS
    finally:
        await agent.close()
