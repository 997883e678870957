"""Agents that hear and speak mu-law, and the callers they have."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator

import pytest

from bench.capacity.servers.frame_echo import FrameEcho
from tests.unit.voice_gateway.session.fakes import REQUEST, FakeAgent, FakeConversation, FakeTransport
from tests.unit.voice_gateway.telephony.test_call import Line
from voice_gateway.agent.base import Agent, AudioFormat, Reply, ReplyAudio, ReplyEnded, UserAudio
from voice_gateway.agents.echo import EchoAgent, PcmuEchoAgent
from voice_gateway.errors import AgentError
from voice_gateway.session.core.speech.agent_audio import AgentAudio, audio_of
from voice_gateway.session.manager import SessionManager
from voice_gateway.store.implementations.memory import MemoryStore
from voicelink.audio.codecs.g711 import pcmu_encode
from voicelink.audio.codecs.opus_slots import SLOT_BYTES
from voicelink.wire import AudioFrame, Codec, Start

EVERY_BYTE = bytes(range(256))


class PcmuAgent(FakeAgent):
    input_rate_hz = 8_000
    output_rate_hz = 8_000
    audio_format = AudioFormat.PCMU

    @property
    def received(self) -> list[bytes]:
        return [call.pcm for call in self.conversation.calls if isinstance(call, UserAudio)]

    @property
    def conversation(self) -> FakeConversation:
        return self.conversations[-1]

    def say(self, data: bytes) -> None:
        for event in (Reply("hello"), ReplyAudio(data[:7]), ReplyAudio(data[7:]), ReplyEnded()):
            self.conversation.emit(event)


@pytest.fixture
def agent() -> PcmuAgent:
    return PcmuAgent()


@pytest.fixture
async def manager(agent: Agent) -> AsyncIterator[SessionManager]:
    manager = SessionManager("worker-1", agent, MemoryStore(), new_id=lambda: "s-1")
    yield manager
    await manager.close()


async def test_a_telephones_bytes_reach_the_agent_and_the_agents_the_telephone(agent, manager) -> None:
    line = Line(manager).start()
    for start in range(0, 256, 64):
        line.media(EVERY_BYTE[start : start + 64])
    assert b"".join(agent.received) == EVERY_BYTE
    agent.say(EVERY_BYTE)
    payloads = [b64decode(message["media"]["payload"]) for message in line.socket.of("media")]
    assert [len(payload) for payload in payloads] == [160, 96]
    assert b"".join(payloads) == EVERY_BYTE


@pytest.mark.parametrize("codec", [Codec.PCM16_16K, Codec.OPUS, Codec.PCMA])
async def test_a_caller_with_another_codec_is_converted(agent, manager, codec: Codec) -> None:
    transport = FakeTransport()
    live = manager.accept(REQUEST, transport)
    live.message_received(Start(accept=(codec,)))
    live.audio_received(AudioFrame(0, 0, Codec.PCM16_16K, bytes(640)))
    live.audio_received(AudioFrame(1, 960, Codec.PCMA, b"\xd5" * 160))
    assert [len(data) for data in agent.received] == [160, 160]
    assert agent.received[0] == pcmu_encode(bytes(320))
    agent.say(EVERY_BYTE * 5)
    assert [frame.codec for _, frame in transport.audio] == [codec] * 8


async def test_speech_counts_an_byte_a_sample(agent, manager) -> None:
    live = manager.accept(REQUEST, FakeTransport())
    live.message_received(Start(accept=(Codec.PCMU,)))
    agent.say(bytes(16_000))
    for _ in range(20):
        await asyncio.sleep(0)
    (session,) = manager.snapshot()
    assert session.downlink_lead_s == 2.0


def test_an_agent_speaks_pcm16_unless_it_says_otherwise() -> None:
    assert audio_of(EchoAgent()) == AgentAudio(16_000, 16_000)
    assert audio_of(PcmuEchoAgent()) == AgentAudio(8_000, 8_000, AudioFormat.PCMU)


def test_mu_law_at_another_rate_is_refused(agent) -> None:
    agent.output_rate_hz = 24_000
    with pytest.raises(AgentError, match="the agent 'fake' speaks mu-law, which is at 8000 Hz, got 24000"):
        audio_of(agent)


def test_opus_slots_count_time_as_samples_do() -> None:
    audio = audio_of(FrameEcho())
    assert audio.output_rate_hz * 0.02 == 1
    assert audio.sample_bytes == SLOT_BYTES
