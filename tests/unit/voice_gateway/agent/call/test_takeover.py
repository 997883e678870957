"""A worker is killed before and after each of its saves: what is done once, and what is done again."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.unit.voice_gateway.agent.call.workers import WORD_MS, Caller, on_virtual_time
from voice_gateway.agent.call import Call
from voicelink.wire import State

TURNS = ("a taro", "a matcha")
MOST_SAVES = 24
"""More than one call takes: the last of these points are never reached."""


class Shop:
    """Takes orders; `effects` are the keys under which it took one."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.has_journal = True

    async def add(self, item: str, key: str) -> dict[str, str]:
        """Add an item."""
        self.effects.append(f"{item} {key if self.has_journal else ''}")
        await asyncio.sleep(0.05)
        return {"added": item}

    async def converse(self, call: Call) -> None:
        await call.say("Hi.")
        async for turn in call.turns():
            if self.has_journal:
                added = await call.tool(self.add, item=turn.text)
            else:
                added = await self.add(turn.text, "")
            call.state.setdefault("items", []).append(added["added"])
            await call.say(f"Added {turn.text}.")


def order(shop: Shop, *, kill_at: int | None, is_saved_first: bool = False) -> Caller:
    """Order both items, losing one worker on the way."""
    caller = Caller(shop.converse)
    caller.store.kill_at, caller.store.is_saved_first = kill_at, is_saved_first
    caller.store.on_kill = caller.kill

    async def scenario() -> None:
        await caller.call()
        await back(caller)
        await caller.run(1.0)
        for item in TURNS:
            await caller.speak(item)
            await caller.run(0.5)
            await back(caller)
            await caller.run(1.5)
            await back(caller)
            await caller.run(1.5)
        await caller.close()

    on_virtual_time(scenario)
    return caller


async def back(caller: Caller) -> None:
    if not caller.is_alive:
        await caller.come_back()


@pytest.mark.parametrize("is_saved_first", [False, True], ids=["unsaved", "saved"])
@pytest.mark.parametrize("kill_at", range(2, MOST_SAVES))
def test_a_turn_is_answered_with_one_key_wherever_the_worker_dies(kill_at: int, is_saved_first: bool) -> None:
    shop = Shop()
    caller = order(shop, kill_at=kill_at, is_saved_first=is_saved_first)
    assert list(dict.fromkeys(effect.split(" ")[1] for effect in shop.effects)) == ["taro", "matcha"]
    assert len(set(shop.effects)) == 2, "each call has one key"
    assert len(shop.effects) <= 3, "at most the call that was under way is made again"
    assert caller.of(State)[-1].state == {"items": list(TURNS)}
    assert list(dict.fromkeys(caller.said())) == ["Hi.", "Added a taro.", "Added a matcha."]
    assert sum(caller.played.values()) == pytest.approx(7 * WORD_MS, abs=60), "each word is played once"


def test_a_finished_tool_returns_its_saved_result_and_is_not_called_again() -> None:
    once = Counter(len(_killed(kill_at).effects) for kill_at in range(2, MOST_SAVES))
    assert once[2] > once[3] > 0, "only the points between effect and result repeat the call"


def _killed(kill_at: int) -> Shop:
    shop = Shop()
    order(shop, kill_at=kill_at)
    return shop


def test_without_the_journal_a_kill_after_the_effect_doubles_it() -> None:
    doubled = []
    for kill_at in range(2, MOST_SAVES):
        shop = Shop()
        shop.has_journal = False
        order(shop, kill_at=kill_at)
        doubled.append(len(shop.effects) > 2)
    assert any(doubled)


def test_before_the_intent_is_saved_the_tool_is_not_called() -> None:
    seen: list[str] = []

    async def tool() -> None:
        seen.append("called")

    async def agent(call: Call) -> None:
        await call.tool(tool)

    caller = Caller(agent)
    caller.store.kill_at = 2
    caller.store.on_kill = caller.kill

    async def scenario() -> None:
        await caller.call()
        await caller.run(1.0)
        assert not caller.is_alive
        await caller.close()

    on_virtual_time(scenario)
    assert seen == []


def test_tools_before_the_first_turn_are_called_once_in_a_call() -> None:
    looked_up: list[str] = []
    names: list[str] = []

    async def look_up(key: str) -> str:
        looked_up.append(key)
        return "Ann"

    async def agent(call: Call) -> None:
        name = await call.tool(look_up)
        await call.say(f"Hi {name}.")
        async for turn in call.turns():
            names.append(name)
            await call.say(f"{turn.text}, {name}.")

    caller = Caller(agent)

    async def scenario() -> None:
        await caller.call()
        await caller.run(1.0)
        for item in TURNS:
            await caller.speak(item)
            await caller.run(1.5)
            caller.kill()
            await caller.come_back()
        await caller.close()

    on_virtual_time(scenario)
    assert len(looked_up) == 1
    assert names == ["Ann", "Ann"]
    assert caller.said() == ["Hi Ann.", "a taro, Ann.", "a matcha, Ann."]


def test_a_tool_that_raises_may_be_handled_by_the_agent_and_is_not_saved_as_done() -> None:
    said: list[str] = []

    async def broken(key: str) -> None:
        raise LookupError("no such thing")

    async def agent(call: Call) -> None:
        async for _ in call.turns():
            try:
                await call.tool(broken)
            except LookupError as error:
                said.append((await call.say(f"There is {error.args[0]}.")).text)

    caller = Caller(agent)

    async def scenario() -> None:
        await caller.call()
        await caller.speak("a unicorn")
        await caller.run(2.0)
        await caller.close()

    on_virtual_time(scenario)
    assert said == ["There is no such thing."]


def test_a_worker_that_lost_the_session_calls_no_tool() -> None:
    called: list[str] = []

    async def tool(worker: str) -> None:
        called.append(worker)

    waiting: list[asyncio.Event] = []

    async def agent(call: Call) -> None:
        async for _ in call.turns():
            waiting.append(asyncio.Event())
            if len(waiting) == 1:
                await waiting[0].wait()
            await call.tool(tool, worker=str(len(waiting)))

    caller = Caller(agent)

    async def scenario() -> None:
        await caller.call()
        await caller.speak("a taro")
        await caller.come_back()  # the first worker still runs, and does not know
        await caller.run(0.5)
        waiting[0].set()
        await caller.run(0.5)
        await caller.close()

    on_virtual_time(scenario)
    assert called == ["2"]


def test_an_answer_that_came_after_the_next_words_is_not_taken_for_theirs() -> None:
    """The transcript counts it to the later turn, whose own answer was said too when the worker died."""
    asked: list[str] = []

    async def look_up(item: str) -> str:
        asked.append(item)
        await asyncio.sleep(3.0)
        return item

    async def agent(call: Call) -> None:
        async for turn in call.turns():
            if turn.number == 1:
                await call.tool(look_up, item=turn.text)
            await call.say(f"Added {turn.text}.")
            if turn.number == 2:
                await call.tool(look_up, item="the bill")
                await call.say("That is all.")

    caller = Caller(agent)

    async def scenario() -> None:
        await caller.call()
        await caller.speak("a taro")
        await caller.speak("a matcha")
        await caller.until(lambda: "the bill" in asked)
        assert caller.said() == ["Added a taro.", "Added a matcha."]
        caller.kill()
        await caller.come_back()
        await caller.run(5.0)
        await caller.close()

    on_virtual_time(scenario)
    assert caller.said() == ["Added a taro.", "Added a matcha.", "That is all."]
    assert sum(caller.played.values()) == pytest.approx(9 * WORD_MS, abs=60)
