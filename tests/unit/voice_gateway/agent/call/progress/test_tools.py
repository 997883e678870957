"""Schemas and keys of tools, and how they are run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import pytest

from voice_gateway.agent.call import tool_schema
from voice_gateway.agent.call.progress.tools import plain, returned, run_tool, tool_key


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Drink:
    name: str
    size: Size = Size.SMALL


async def order(drink: Drink, count: int = 1, ice: Literal["none", "less"] | None = None, *, key: str) -> list[str]:
    """Order a drink
    for the caller.

    Not the model's business.
    """
    return [drink.name, str(count), str(ice), key]


def add(left: int, right: int) -> int:
    return left + right


def test_a_schema_has_the_parameters_without_the_key() -> None:
    assert tool_schema(add) == {
        "name": "add",
        "description": "",
        "parameters": {
            "type": "object",
            "properties": {"left": {"type": "integer"}, "right": {"type": "integer"}},
            "required": ["left", "right"],
            "additionalProperties": False,
        },
    }
    schema = tool_schema(order)
    assert schema["description"] == "Order a drink for the caller."
    assert schema["parameters"]["required"] == ["drink"]
    assert set(schema["parameters"]["properties"]) == {"drink", "count", "ice"}
    assert schema["parameters"]["properties"]["count"] == {"type": "integer", "default": 1}
    assert schema["parameters"]["properties"]["drink"] == {"$ref": "#/$defs/Drink"}
    assert schema["parameters"]["$defs"]["Size"]["enum"] == ["large", "small"]


def test_a_parameter_without_a_hint_has_no_schema() -> None:
    def bare(item):
        return item

    with pytest.raises(TypeError, match="the tool bare needs a type hint for item"):
        tool_schema(bare)


@pytest.mark.parametrize(
    "other",
    [
        ("s2", 1, 0, "add", {"a": 1, "b": 2}),
        ("s1", 2, 0, "add", {"a": 1, "b": 2}),
        ("s1", 1, 1, "add", {"a": 1, "b": 2}),
        ("s1", 1, 0, "sub", {"a": 1, "b": 2}),
        ("s1", 1, 0, "add", {"a": 1, "b": 3}),
    ],
)
def test_a_key_differs_where_session_turn_ordinal_name_or_an_argument_does(other: Any) -> None:
    key = tool_key("s1", 1, 0, "add", {"a": 1, "b": 2})
    assert key == tool_key("s1", 1, 0, "add", {"b": 2, "a": 1})
    assert key != tool_key(*other)


async def test_sync_and_async_tools_run_and_get_their_key() -> None:
    assert await run_tool(add, {"left": 1, "right": 2}, "k") == 3
    assert await run_tool(order, {"drink": Drink("taro"), "count": 2}, "k") == ["taro", "2", "None", "k"]


def test_a_result_comes_back_as_the_type_that_the_hint_names() -> None:
    def make() -> Drink:
        return Drink("taro", Size.LARGE)

    assert plain(make()) == {"name": "taro", "size": "large"}
    assert returned(make, plain(make())) == make()
