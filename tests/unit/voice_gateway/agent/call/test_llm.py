"""Answering with a language model that calls tools: what it is shown, what is said, what a takeover repeats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

import pytest

from tests.unit.voice_gateway.agent.call.workers import Caller, calling, on_virtual_time
from voice_client.call.messages import Messages
from voice_gateway.agent.call import Call
from voice_gateway.agent.call.llm import Message, ToolError, ToolRequest, answer
from voicelink.wire import App, CloseCode, Error, State, Text, ToolCall

Script = Callable[[Sequence[Message]], list[str | ToolRequest]]
MOST_SAVES = 22


class Model:
    """Answers as the script says, a piece each 50 ms; `asked` are the messages of each request."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.asked: list[list[Message]] = []

    async def stream(self, messages: Sequence[Message]) -> AsyncGenerator[str, None]:
        async for piece in self.choose(messages, ()):
            assert isinstance(piece, str)
            yield piece

    async def choose(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]
    ) -> AsyncGenerator[str | ToolRequest, None]:
        self.asked.append(list(messages))
        for piece in self._script(messages):
            await asyncio.sleep(0.05)
            yield piece


def add(count: int = 1, **arguments: Any) -> ToolRequest:
    text = ", ".join(f'"{name}": "{value}"' for name, value in arguments.items())
    return ToolRequest(f"call-{count}", "add_item", f"{{{text}}}")


def order(messages: Sequence[Message]) -> list[str | ToolRequest]:
    """Take the item that was asked for, then say that it was done."""
    if messages[-1]["role"] == "tool":
        return ["Added. ", "Anything ", "else?"]
    return ["Just a moment. ", add(item=messages[-1]["content"])]


class Shop:
    def __init__(self, script: Script = order) -> None:
        self.model = Model(script)
        self.effects: list[tuple[str, str]] = []

    async def converse(self, call: Call) -> None:
        async def add_item(item: str, key: str) -> dict[str, str]:
            """Add a drink."""
            self.effects.append((item, key))
            await asyncio.sleep(0.05)
            if item == "a unicorn":
                raise ToolError("there is no such drink")
            call.state.setdefault("items", []).append(item)
            return {"added": item}

        async for _ in call.turns():
            await answer(call, self.model, [add_item], instructions="Be brief.", most_rounds=3)


def ordering(shop: Shop, *items: str) -> Caller:
    async def scenario(caller: Caller) -> None:
        await caller.call()
        for item in items:
            await caller.speak(item)
            await caller.run(4.0)

    return calling(shop.converse, scenario)


def test_a_model_calls_a_tool_and_says_what_follows() -> None:
    shop = Shop()
    caller = ordering(shop, "a taro")
    assert caller.said() == ["Just a moment.", "Added.", "Anything else?"]
    assert caller.of(State)[-1].state == {"items": ["a taro"]}
    assert shop.model.asked == [
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a taro"}],
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "a taro"},
            {
                "role": "assistant",
                "content": "Just a moment. ",
                "tool_calls": [
                    {
                        "id": "call-1",
                        "type": "function",
                        "function": {"name": "add_item", "arguments": '{"item": "a taro"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call-1", "content": '{"added":"a taro"}'},
        ],
    ]


def test_the_text_is_said_before_the_model_has_finished() -> None:
    def slow(messages: Sequence[Message]) -> list[str | ToolRequest]:
        return ["One. ", *["and "] * 60, "two."]

    said_early: list[list[str]] = []

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("a taro")
        await caller.run(0.5)
        said_early.append(caller.said())
        await caller.run(20.0)

    calling(Shop(slow).converse, scenario)
    assert said_early == [["One."]]


@pytest.mark.parametrize(
    ("request_", "result"),
    [
        (add(), "item is missing"),
        (add(item="x", size="y"), "there is no size"),
        (add(item="a unicorn"), "there is no such drink"),
        (ToolRequest("1", "add_item", "{"), "the arguments of add_item are wrong"),
        (ToolRequest("1", "add_item", '{"item": 3}'), "Expected `str`, got `int`"),
        (ToolRequest("1", "add_item", "[]"), "the arguments of add_item are wrong"),
        (ToolRequest("1", "drop", "{}"), "there is no tool drop; there are add_item"),
    ],
)
def test_what_a_model_gets_wrong_is_its_tools_result(request_: ToolRequest, result: str) -> None:
    shop = Shop(lambda messages: ["Sorry."] if messages[-1]["role"] == "tool" else [request_])
    assert ordering(shop, "a taro").said() == ["Sorry."]
    assert result in shop.model.asked[-1][-1]["content"]


def test_a_model_that_asks_for_tools_for_ever_ends_the_call() -> None:
    caller = ordering(Shop(lambda _: [add(item="a taro")]), "a taro")
    assert caller.of(Error)[-1].code == CloseCode.AGENT_FAILED
    assert caller.said()[:1] == ["Sorry, something went wrong."]


def test_the_history_holds_earlier_answers() -> None:
    shop = Shop(lambda _: ["Yes."])
    ordering(shop, "a taro", "a matcha")
    assert [each["content"] for each in shop.model.asked[-1]] == ["Be brief.", "a taro", "Yes.", "a matcha"]


@pytest.mark.parametrize("is_saved_first", [False, True], ids=["unsaved", "saved"])
@pytest.mark.parametrize("kill_at", range(2, MOST_SAVES))
def test_a_takeover_repeats_neither_choices_nor_effects(kill_at: int, is_saved_first: bool) -> None:
    """The model would choose otherwise each time: what it chose once is what happens."""
    choices = iter(range(99))

    def fickle(messages: Sequence[Message]) -> list[str | ToolRequest]:
        if messages[-1]["role"] == "tool":
            return ["Added. ", "Anything else?"]
        return [add(item=f"{messages[-1]['content']} {next(choices)}")]

    shop = Shop(fickle)
    caller = Caller(shop.converse)
    caller.store.kill_at, caller.store.is_saved_first = kill_at, is_saved_first
    caller.store.on_kill = caller.kill

    async def scenario() -> None:
        await caller.call()
        for item in ("taro", "matcha"):
            for _ in range(2):
                if not caller.is_alive:
                    await caller.come_back()
                await caller.run(1.0)
            await caller.speak(item)
            for _ in range(4):
                if not caller.is_alive:
                    await caller.come_back()
                await caller.run(1.5)
        await caller.close()

    on_virtual_time(scenario)
    keys = list(dict.fromkeys(shop.effects))
    assert [item.split()[0] for item, _ in keys] == ["taro", "matcha"], "one choice a turn is carried out"
    assert caller.of(State)[-1].state == {"items": [item for item, _ in keys]}
    assert list(dict.fromkeys(caller.said())) in (
        ["Added.", "Anything else?"],
        ["Added.", "Anything else?", "Added. Anything else?"],
    )
    assert sum(caller.played.values()) == pytest.approx(6 * 200, abs=60), "each word is played once"


@pytest.mark.parametrize("is_saved_first", [False, True], ids=["unsaved", "saved"])
@pytest.mark.parametrize("kill_at", range(2, MOST_SAVES))
def test_a_takeover_behind_a_tool_that_asked_the_client_repeats_no_choice(kill_at: int, is_saved_first: bool) -> None:
    """What such a tool did is not done again, so its steps must not count among the turn's."""
    places: list[tuple[str, str]] = []
    booked: list[tuple[str, str]] = []
    choices = iter(range(99))

    def fickle(messages: Sequence[Message]) -> list[str | ToolRequest]:
        if messages[-1]["role"] != "tool":
            return [ToolRequest("call-1", "find", "{}")]
        if messages[-1]["content"] == "Berlin":
            return [ToolRequest("call-2", "book", f'{{"room": "{next(choices)}"}}')]
        return ["Booked."]

    async def converse(call: Call) -> None:
        async def find(key: str) -> str:
            """Find the caller."""
            call.send({"finding": True})
            place = await call.client_tool("where")
            places.append((place, key))
            return str(place)

        async def book(room: str, key: str) -> str:
            """Book a room."""
            booked.append((room, key))
            return "booked"

        async for _ in call.turns():
            await answer(call, Model(fickle), [find, book])
            call.send({"finding": False})

    caller = Caller(converse, messages=Messages())
    caller.tools.register("where", lambda: "Berlin")
    caller.store.kill_at, caller.store.is_saved_first = kill_at, is_saved_first
    caller.store.on_kill = caller.kill

    async def scenario() -> None:
        await caller.call()
        caller.say(Text(number=0, text="a room"))
        for _ in range(4):
            await caller.run(1.0)
            if not caller.is_alive:
                await caller.come_back()
        await caller.close()

    on_virtual_time(scenario)
    assert len(set(places)) == 1
    assert len(set(booked)) == 1, "one choice is carried out, under one key"
    assert len({each.call_id for each in caller.received if isinstance(each, ToolCall)}) == 1
    assert [each.data for each in caller.received if isinstance(each, App)] == [{"finding": True}, {"finding": False}]
    assert caller.said()[-1] == "Booked."
