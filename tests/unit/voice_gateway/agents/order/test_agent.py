"""The order agent as a call agent: what it answers, and that no order is lost or doubled where its worker ends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.voice_gateway.agent.call.workers import Caller, calling
from voice_gateway.agent.base import UserText
from voice_gateway.agent.cascade.smart_turn import SmartTurn
from voice_gateway.agents.order.agent import OrderAgent, OrderSettings
from voice_gateway.agents.order.dialogue import NOT_UNDERSTOOD
from voice_gateway.testing.text_calls import text_call
from voicelink.wire import State, Transcript

TARO = "One medium taro milk tea. Anything else?"
GREETING = "Hi, welcome to Sunny Boba! What can I get you?"


async def test_an_order_is_saved_and_answered() -> None:
    async with text_call(OrderAgent()) as caller:
        greeting = await caller.greeting()
        assert greeting.startswith("Hi, welcome to ")
        assert await caller.say("a taro") == TARO
        assert caller.state["total"] == "5.50"
        assert await caller.say("make it large") == "Okay, one large taro milk tea. Anything else?"
        assert [item["size"] for item in caller.state["items"]] == ["large"]


async def test_what_makes_no_sense_is_asked_again_and_changes_nothing() -> None:
    async with text_call(OrderAgent()) as caller:
        await caller.greeting()
        assert await caller.say("the cheese") == NOT_UNDERSTOOD
        assert caller.state == {}


async def test_noise_without_words_is_asked_about_three_times_at_most() -> None:
    async with text_call(OrderAgent()) as caller:
        await caller.greeting()
        answers = [await caller.say("") for _ in range(5)]
        assert [bool(each) for each in answers] == [True, True, True, False, False]
        assert await caller.say("a taro") == TARO


async def test_typed_words_are_an_order() -> None:
    async with text_call(OrderAgent()) as caller:
        await caller.greeting()
        caller._caller.conversation.text_received(UserText(0, "A taro, please!"))
        assert await caller._answer() == TARO


def ordering(kill: bool) -> Caller:
    """Order twice; with `kill` the worker ends once the second order is committed, before its answer is played."""
    agent = OrderAgent()
    options: dict[str, Any] = {name: getattr(agent.options, name) for name in ("is_finished", "most_unclear")}

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(3.0)
        await caller.speak("a taro")
        await caller.run(4.0)
        await caller.speak("a matcha latte")
        await caller.until(lambda: items(caller) == ["taro milk tea", "matcha latte"])
        if kill:
            caller.kill()
            await caller.come_back()
        await caller.run(6.0)

    return calling(agent.converse, scenario, **options)


def items(caller: Caller) -> list[str]:
    states = caller.of(State)
    return [item["drink"] for item in states[-1].state["items"]] if states and states[-1].state else []


@pytest.mark.parametrize("kill", [False, True], ids=["control", "killed after the commit"])
def test_an_order_is_neither_lost_nor_doubled_where_the_worker_ends_between_commit_and_answer(kill: bool) -> None:
    caller = ordering(kill)
    assert items(caller) == ["taro milk tea", "matcha latte"]
    finals = [each for each in caller.link.messages if isinstance(each, Transcript) and each.is_final]
    assert [each.text for each in finals if each.role == "user"] == ["a taro", "a matcha latte"]
    assert list(dict.fromkeys(caller.said()))[-1] == "One medium matcha latte. Anything else?"
    assert len(caller.workers) == 1 + kill


def test_two_quick_sentences_lose_no_word() -> None:
    agent = OrderAgent()

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(3.0)
        await caller.speak("a taro")
        await caller.speak("make it large")
        await caller.run(6.0)

    caller = calling(agent.converse, scenario)
    finals = [line.text for line in caller.of(Transcript) if line.role == "user" and line.is_final]
    assert finals == ["a taro", "make it large"]
    assert [item["size"] for item in caller.of(State)[-1].state["items"]] == ["large"]


def test_an_unfinished_sentence_waits_for_the_rest() -> None:
    is_finished = OrderAgent().options.is_finished
    assert is_finished is not None
    assert not is_finished(("a", "large", "taro", "milk", "tea", "and"))
    assert is_finished(("a", "large", "taro", "milk", "tea"))


def test_a_model_is_asked_about_pauses_where_the_settings_say_so() -> None:
    assert OrderAgent().options.end_of_turn is None
    assert OrderAgent(OrderSettings(end_of_turn="smart_turn")).options.end_of_turn is SmartTurn
