"""A LiveKit agent in a worker: what it hears, says, and keeps of what was heard."""

from __future__ import annotations

import asyncio
from typing import Any

from livekit.agents import function_tool

from tests.agents.livekit.calls import Caller, recording
from tests.agents.livekit.parts import Scripted, Words, last_user, said
from voicelink.wire import Flush

LONG = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen."


async def test_a_spoken_order_is_taken_by_a_tool_once() -> None:
    orders: list[str] = []

    @function_tool
    async def add_item(drink: str) -> str:
        """Add a drink."""
        orders.append(drink)
        return "added"

    def rule(items: list[Any]) -> Any:
        if items[-1].type == "function_call_output":
            return f"I have {orders[-1]}. Anything else?"
        return ("", "add_item", {"drink": last_user(items)})

    agent = Scripted(rule, tools=[add_item], greeting="Hi, what can I get you?")
    caller = Caller([agent])
    await caller.call()
    await caller.until(lambda: caller.said() and caller.complete, "the greeting")
    await caller.say(recording("slt_order"))
    await caller.until(lambda: len(caller.said()) >= 3, "the answer")
    end = len(caller.sent)
    await caller.until(lambda: not caller.private.get("pending") and len(caller.complete) >= 3, "the turn's end")
    assert len(orders) == 1
    assert caller.said() == ["Hi, what can I get you?", f"I have {orders[0]}.", "Anything else?"]
    assert "brown sugar milk tea" in orders[0]
    assert caller.said("user") == orders
    assert end - 150 < caller.acked < end
    history = said(caller.private["livekit"]["chat"])
    assert history == [
        ("assistant", "Hi, what can I get you?"),
        ("user", orders[0]),
        ("assistant", f"I have {orders[0]}. Anything else?"),
    ]
    await caller.close()


async def test_barge_in_leaves_only_the_words_heard_in_the_history() -> None:
    agent = Scripted(lambda items: LONG if "brown" in last_user(items) else "Okay.", speech=Words())
    caller = Caller([agent])
    await caller.call()
    await caller.say(recording("slt_order"))
    await caller.until(lambda: caller.said(), "the answer")
    await caller.say(bytes(32_000))
    caller.is_playing = False
    await caller.say(bytes(32_000))
    caller.is_playing = True
    await caller.say(recording("rms_change"))
    await caller.until(lambda: "Okay." in caller.said() and not caller.private.get("pending"), "the second answer")
    history = said(caller.private["livekit"]["chat"])
    heard = history[1][1].split()
    assert heard == LONG.split()[: len(heard)]
    played_ms = caller.played[1]
    assert abs(len(heard) * 250 - played_ms) < 400
    assert caller.of(Flush)
    assert [role for role, _ in history] == ["user", "assistant", "user", "assistant"]
    await caller.close()
    await asyncio.sleep(0)
