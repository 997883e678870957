"""When a bridge takes the call for answered."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from testbed.simnet.loop import VirtualLoop
from tests.unit.voice_gateway.agent.call.workers import on_virtual_time
from voice_gateway.agent.base import AgentEvent, Finished
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.bridges.bridge.call.finish import BridgeFinish


class Call:
    """A call without audio, at a vendor that has nothing to say."""

    def __init__(self) -> None:
        self.events: list[AgentEvent] = []
        self.changes = Changes()
        answers: Any = SimpleNamespace(is_idle=True)
        current: Any = SimpleNamespace(is_ready=True, number=1)
        audio: Any = SimpleNamespace(newest=-1)
        speech: Any = SimpleNamespace(received_ms=0.0)
        self.finish = BridgeFinish(self.events.append, self.changes, current, audio, speech, answers, b"")
        self.answers = answers

    def begin_answer(self) -> None:
        self.answers.is_idle = False

    def end_answer(self) -> None:
        self.answers.is_idle = True
        self.changes.notify()


def test_an_answer_that_was_waiting_to_be_read_after_a_stall_is_not_missed() -> None:
    call = Call()

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        call.finish.begin()
        await asyncio.sleep(0.1)
        loop._now += 1.0  # the process was held up, and every timer is due
        loop.call_soon(loop.call_soon, loop.call_soon, call.begin_answer)
        await asyncio.sleep(2.0)
        assert call.events == []
        call.end_answer()
        await asyncio.sleep(1.0)
        assert call.events == [Finished()]

    on_virtual_time(scenario)
