"""Under a flood of callers the cyclic collector would find all their memory at once, and stall the event loop."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import pytest

from tests.unit.voice_gateway.transport.harness import WebTransportCaller
from voice_gateway.agents.echo import EchoAgent
from voice_gateway.session.manager import SessionManager
from voice_gateway.store.implementations.memory import MemoryStore
from voicelink.wire import AudioFrame, Codec, Start


@pytest.mark.parametrize("has_started", [False, True])
@pytest.mark.parametrize("is_callers_end", [False, True])
async def test_an_ended_session_is_freed_without_the_cyclic_collector(
    has_started: bool, is_callers_end: bool, no_collector: None
) -> None:
    manager = SessionManager("worker-1", EchoAgent(), MemoryStore(), new_id=lambda: "s-1")
    caller = WebTransportCaller(manager.accept)
    caller.send_audio(AudioFrame(0, 0, Codec.PCM16_16K, bytes(640)))
    if has_started:
        caller.send(Start(accept=(Codec.PCM16_24K,)))
        caller.send_audio(AudioFrame(1, 960, Codec.PCM16_16K, bytes(640)))
        assert manager.count == 1
    if is_callers_end:
        caller.hang_up("over")
    else:
        caller.served.close(0x100, "over")
    caller.loop.run_until(caller.loop.now + 100)
    await asyncio.sleep(0)
    assert manager.count == 0
    freed: list[weakref.ref[Any]] = [weakref.ref(caller.served), weakref.ref(caller.served.quic)]
    vars(caller).clear()
    assert [each() for each in freed] == [None, None]
