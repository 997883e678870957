"""A part of an agent that fails beside its coroutine: the caller hears the apology, and the call ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.unit.voice_gateway.agent.call.workers import VOICE, Caller, Converse, ScriptedAgent, on_virtual_time
from voice_gateway.agent.base import AgentEvent, AgentFailed, Reply, SessionView, StateChanged, UserAudio
from voice_gateway.agent.call import Call, CallOptions, as_agent
from voice_gateway.agent.cascade.parts import OnWords


async def waits(call: Call) -> None:
    async for _ in call.turns():
        pass


async def says_what_fails(call: Call) -> None:
    async def words() -> AsyncIterator[str]:
        yield "One. "
        raise RuntimeError("no more words")

    await call.say(words())


async def calls_what_fails(call: Call) -> None:
    async def tool() -> None:
        raise RuntimeError("no such service")

    await call.tool(tool)


async def holds_what_fails(call: Call) -> None:
    async with call.hold(b"\0\0"):
        call._parts.saying._holds[0]._pcm = b""
        await asyncio.sleep(600.0)


class BrokenVoices:
    rate_hz = 16_000

    def detector(self) -> BrokenVoices:
        return self

    def probability(self, pcm: bytes) -> float:
        raise RuntimeError("no model")


class Partial:
    """A recogniser with a partial transcript for each piece."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def begin(self, on_words: OnWords) -> Partial:
        self._on_words = on_words
        return self

    def feed(self, pcm: bytes) -> None:
        self._on_words(("a", "taro"), False)

    def end(self) -> None:
        self._on_words(("a", "taro"), True)

    def abandon(self) -> None: ...


def refuse(*_: object) -> Any:
    raise RuntimeError("no such words")


PARTS: dict[str, tuple[Converse, dict[str, Any]]] = {
    "a generator": (says_what_fails, {}),
    "a tool": (calls_what_fails, {}),
    "hold audio": (holds_what_fails, {}),
    "voice activity": (waits, {"voices": BrokenVoices}),
    "is_finished": (waits, {"recogniser": Partial, "is_finished": refuse}),
    "asks_again": (waits, {"asks_again": refuse}),
}


@pytest.mark.parametrize("part", PARTS)
def test_each_part_that_fails_leads_to_the_apology_and_to_the_end_of_the_call(part: str) -> None:
    converse, options = PARTS[part]
    events: list[AgentEvent] = []

    async def scenario() -> None:
        agent = as_agent(ScriptedAgent(converse, Caller(converse), playout_grace_s=0.1, **options))
        await agent.open()

        def emit(event: AgentEvent) -> None:
            events.append(event)
            if isinstance(event, StateChanged) and event.checkpoint is not None:
                conversation.saved(event.checkpoint)

        conversation = agent.converse(emit, None)
        conversation.opened(SessionView("s-1", 0, {}, tuple, lambda: True))
        if part == "asks_again":
            conversation.greet_again()
        else:
            conversation.greet()
        for sequence in range(20):
            await asyncio.sleep(0.02)
            conversation.hear(UserAudio(sequence, VOICE))
        await asyncio.sleep(20.0)
        await agent.close()

    on_virtual_time(scenario)
    said = " ".join(event.text for event in events if isinstance(event, Reply) and event.text)
    assert said.removeprefix("One. ") == CallOptions().apology
    failed = [event.reason for event in events if isinstance(event, AgentFailed)]
    assert failed == ["the agent failed: " + ("ZeroDivisionError" if part == "hold audio" else "RuntimeError")]
