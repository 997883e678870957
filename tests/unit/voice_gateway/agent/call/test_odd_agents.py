"""Coroutines that do what no agent should, and callers who type without end: one call fails, not the worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from tests.unit.voice_gateway.agent.call.test_call import calling
from tests.unit.voice_gateway.agent.call.workers import Caller, Converse, ScriptedAgent, on_virtual_time
from voice_gateway.agent.base import AgentEvent, AgentFailed, FinalTranscript, SessionView, UserText
from voice_gateway.agent.call import Call, as_agent
from voice_gateway.agent.call.progress.tools import tool_key
from voicelink.wire import CloseCode, Error


def ended_with(converse: Converse) -> Caller:
    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(6.0)

    return calling(converse, scenario)


def test_an_agent_that_exits_ends_its_call_and_not_the_worker() -> None:
    async def leave(call: Call) -> None:
        raise SystemExit(3)

    caller = ended_with(leave)
    assert caller.of(Error)[-1] == Error(code=CloseCode.AGENT_FAILED, message="the agent failed: SystemExit")


def test_a_stream_that_exits_ends_its_call_and_not_the_worker() -> None:
    async def words() -> AsyncIterator[str]:
        yield "One. "
        raise SystemExit(3)

    async def leave(call: Call) -> None:
        await call.say(words())

    assert ended_with(leave).of(Error)[-1].message == "the agent failed: SystemExit"


def test_a_cyclic_state_ends_its_call() -> None:
    async def turn_round(call: Call) -> None:
        call.state["me"] = call.state

    assert ended_with(turn_round).of(Error)[-1].code == CloseCode.AGENT_FAILED


def test_a_state_that_no_client_takes_before_the_first_turn_ends_its_call_with_the_apology() -> None:
    async def grow(call: Call) -> None:
        call.state["x"] = "x" * 100_000
        async for _ in call.turns():
            pass

    caller = ended_with(grow)
    assert caller.said() == ["Sorry, something went wrong.", "Please call again."]
    assert caller.of(Error)[-1].message == "the agent failed: StateTooLarge"


def test_an_agent_that_does_not_end_keeps_close_waiting_for_seconds_alone() -> None:
    released = asyncio.Event()

    async def stay(call: Call) -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    async def scenario() -> None:
        agent = as_agent(ScriptedAgent(stay, Caller(stay)))
        await agent.open()
        conversation = agent.converse(lambda event: None, None)
        conversation.opened(SessionView("s-1", 0, {}, tuple, lambda: True))
        conversation.greet()
        await asyncio.sleep(0.1)
        async with asyncio.timeout(30.0):
            await agent.close()
        released.set()

    on_virtual_time(scenario)


def test_a_caller_who_types_without_end_ends_the_call_and_the_record_stays_bounded() -> None:
    async def deaf(call: Call) -> None:
        await asyncio.Event().wait()

    async def scenario() -> None:
        agent = as_agent(ScriptedAgent(deaf, Caller(deaf)))
        await agent.open()
        events: list[AgentEvent] = []
        conversation = agent.converse(events.append, None)
        conversation.opened(SessionView("s-1", 0, {}, tuple, lambda: True))
        conversation.greet()
        for number in range(1_000):
            conversation.text_received(UserText(number, "a taro"))
        await agent.close()
        assert sum(isinstance(event, FinalTranscript) for event in events) == 256
        assert AgentFailed("256 turns wait for an answer") in events

    on_virtual_time(scenario)


def test_a_tool_may_have_an_argument_of_any_name() -> None:
    got: list[object] = []

    def draw(function: str) -> str:
        return function

    async def plot(call: Call) -> None:
        got.append(await call.tool(draw, function="sine"))

    ended_with(plot)
    assert got == ["sine"]


def test_a_set_gives_a_call_the_same_key_in_each_process() -> None:
    names = {f"item-{number}" for number in range(50)}
    assert tool_key("s", 1, 0, "buy", {"x": names}) == tool_key("s", 1, 0, "buy", {"x": sorted(names)})
