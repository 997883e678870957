"""Every effect of a session is carried out, and a failure of one ends that session alone."""

from __future__ import annotations

from typing import get_args

from tests.unit.voice_gateway.session.fakes import REQUEST, FakeAgent, FakeTransport
from voice_gateway.agent.base import UserAudio
from voice_gateway.session.core.effects import Effect
from voice_gateway.session.manager import SessionManager
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.session.runtime.live_session import LiveSession
from voice_gateway.store.implementations.memory import MemoryStore
from voicelink.wire import AudioFrame, CloseCode, Codec, Start


def test_every_effect_is_carried_out() -> None:
    assert set(LiveSession._CARRY_OUT) == set(get_args(Effect))


async def test_an_agent_that_raises_ends_its_session_and_no_other() -> None:
    def raises(audio: UserAudio) -> None:
        raise ValueError("secret words")

    agent, transports = FakeAgent(), (FakeTransport(), FakeTransport())
    names = iter(("s-1", "s-2"))
    manager = SessionManager("w-1", agent, MemoryStore(), new_id=lambda: next(names))
    connections = [manager.accept(REQUEST, transport) for transport in transports]
    for connection in connections:
        assert isinstance(connection, ClientConnection)
        connection.message_received(Start(accept=(Codec.PCM16_24K,)))
    agent.conversations[0].on_hear = raises
    for connection in connections:
        assert isinstance(connection, ClientConnection)
        connection.audio_received(AudioFrame(0, 0, Codec.PCM16_16K, bytes(640)))
    assert transports[0].closed == [(CloseCode.INTERNAL, "the worker failed")]
    assert transports[1].closed == []
    assert any(isinstance(call, UserAudio) for call in agent.conversations[1].calls)
    await manager.close()
