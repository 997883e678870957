"""The tools that the settings name."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from voice_gateway.agent.call.progress.journal import Journal
from voice_gateway.agent.call.progress.steps import Steps
from voice_gateway.agents.bridges.bridge.call.functions import Functions
from voice_gateway.errors import AgentError

HERE = __name__


async def add(item: str, quantity: int = 1, key: str = "") -> list[object]:
    """Add an item."""
    return [item, quantity, bool(key)]


def broken(item: str) -> None:
    raise RuntimeError(item)


def bare(item) -> None:
    del item


def steps(journal: Journal | None = None) -> Steps:
    async def checkpoint() -> None:
        return None

    return Steps(journal or Journal(), lambda: None, checkpoint)


async def called(function: Callable[..., object], arguments: str) -> object:
    name = function.__name__
    return json.loads(await Functions([f"{HERE}:{name}"]).call(steps(), name, arguments))


async def test_a_tool_gets_the_models_arguments_and_a_key() -> None:
    assert await called(add, '{"item": "tea", "quantity": "2"}') == ["tea", 2, True]


async def test_a_key_that_the_model_chooses_is_not_the_calls() -> None:
    assert await called(add, '{"item": "tea", "key": "mine"}') == ["tea", 1, True]


@pytest.mark.parametrize("arguments", ["{", "[]", '{"item": 5}', '{"quantity": 2}', '{"item": "tea", "size": 1}'])
async def test_arguments_that_do_not_fit_are_explained_to_the_model(arguments: str) -> None:
    answer = await called(add, arguments)
    assert isinstance(answer, dict)
    assert answer["error"].startswith("the arguments do not fit: ")


async def test_a_tool_that_raises_is_named_without_its_message() -> None:
    assert await called(broken, '{"item": "secret"}') == {"error": "broken failed: RuntimeError"}


async def test_a_tool_that_is_not_there_is_explained_to_the_model() -> None:
    assert json.loads(await Functions([]).call(steps(), "pay", "{}")) == {"error": "there is no tool pay"}


async def test_a_call_that_returned_is_not_repeated() -> None:
    journal = Journal()
    functions = Functions([f"{HERE}:add"])
    first = await functions.call(steps(journal), "add", '{"item": "tea"}')
    kept = journal.to_state()
    assert await functions.call(steps(journal), "add", '{"item": "tea"}') == first
    assert journal.to_state() == kept


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["add"], "a tool is named package.module:function, got 'add'"),
        ([f"{HERE}:nothing"], f"the module {HERE} has no function nothing"),
        (["nowhere.at.all:f"], "the module of 'nowhere.at.all:f' cannot be imported: ModuleNotFoundError"),
        ([f"{HERE}:bare"], f"{HERE}:bare: the tool bare needs a type hint for item"),
        ([f"{HERE}:add", f"{HERE}:add"], "two tools are called add: rename one"),
    ],
)
def test_a_tool_that_cannot_be_used_is_named(names: list[str], fault: str) -> None:
    with pytest.raises(AgentError) as raised:
        Functions(names)
    assert str(raised.value) == f"agent.settings.tools: {fault}"
