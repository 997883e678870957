"""The program in gateway/docs/agents.md and the one in the README run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.voice_gateway.agent.call.workers import Caller, on_virtual_time
from voice_gateway.agent.call import CallAgent, CallOptions, tool_schema
from voice_gateway.agent.loading import load_agent
from voicelink.wire import State

ROOT = Path(__file__).parents[5]


def program(document: str) -> str:
    """Return the first example that has a `CallAgent`."""
    examples = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    return next(str(example) for example in examples if "CallAgent" in example)


@pytest.mark.parametrize("document", ["gateway/docs/agents.md", "README.md"])
def test_the_documented_agent_takes_an_order_across_two_workers(
    document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"shop_{Path(document).stem.lower()}"
    (tmp_path / f"{name}.py").write_text(program(document))
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict[str, Any] = {}
    exec(compile(program(document), document, "exec"), names)  # noqa: S102 - our own document
    agents = [each for each in names.values() if isinstance(each, type) and issubclass(each, CallAgent)]
    (kind,) = [each for each in agents if each is not CallAgent]
    assert kind.options == CallOptions()
    assert load_agent(f"{name}:{kind.__name__}").name == kind.__name__
    caller = Caller(kind().converse)

    async def scenario() -> None:
        await caller.call()
        await caller.run(2.0)
        await caller.speak("a taro")
        await caller.run(0.4)
        caller.kill()
        await caller.come_back()
        await caller.run(3.0)
        await caller.speak("a matcha")
        await caller.run(4.0)
        await caller.close()

    on_virtual_time(scenario)
    assert caller.of(State)[-1].state == {"items": ["a taro", "a matcha"]}
    assert list(dict.fromkeys(caller.said())) == [
        "Hi, what can I get you?",
        "I have a taro. Anything else?",
        "I have a taro and a matcha. Anything else?",
    ]


def test_the_documented_tool_has_a_schema() -> None:
    names: dict[str, Any] = {}
    exec(compile(program("gateway/docs/agents.md"), "agents.md", "exec"), names)  # noqa: S102 - our own document
    assert list(tool_schema(names["add_item"])["parameters"]["properties"]) == ["items", "text"]
