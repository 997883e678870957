"""Calls in text, as an agent's own tests hold them."""

from __future__ import annotations

import pytest

from voice_gateway.agent.call import Call, CallAgent
from voice_gateway.testing.text_calls import text_call


class Counter(CallAgent):
    async def converse(self, call: Call) -> None:
        await call.say("Hi.")
        async for turn in call.turns():
            if turn.text == "fail":
                raise LookupError
            if turn.text == "bye":
                await call.say("Bye.")
                return
            call.state["turns"] = turn.number
            await call.say(f"{turn.text} {turn.is_digit}.")
            await call.say("More?")


async def test_a_call_goes_turn_by_turn_until_the_agent_hangs_up() -> None:
    async with text_call(Counter()) as caller:
        assert await caller.greeting() == "Hi."
        assert await caller.say("a taro") == "a taro False. More?"
        assert await caller.press("5") == "5 True. More?"
        assert caller.state == {"turns": 2}
        assert not caller.has_hung_up
        assert await caller.say("bye") == "Bye."
        assert caller.has_hung_up


async def test_an_agent_that_fails_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="the agent failed: LookupError"):
        async with text_call(Counter(), timeout_s=30.0) as caller:
            await caller.say("fail")
