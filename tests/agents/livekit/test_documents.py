"""The program in gateway/docs/livekit.md runs as it stands there."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from tests.agents.livekit.calls import Caller, recording
from tests.agents.livekit.parts import Hibari, OrderHearing, Rules, last_user
from voice_gateway.agent.loading import load_agent

DOCUMENT = Path(__file__).parents[3] / "gateway" / "docs" / "livekit.md"


def rule(items: list[Any]) -> Any:
    if items[-1].type == "function_call_output":
        return "Anything else?"
    return ("", "add_item", {"drink": last_user(items)})


async def test_the_documented_agent_takes_an_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (tmp_path / "bot.py").write_text(program)
    monkeypatch.syspath_prepend(str(tmp_path))
    parts = types.SimpleNamespace(hearing=OrderHearing, model=lambda: Rules(rule), voice=Hibari)
    monkeypatch.setitem(sys.modules, "parts", parts)
    caller = Caller(load_agent("bot:Bot"))
    await caller.call()
    await caller.until(lambda: caller.said() and caller.complete, "the greeting")
    await caller.say(recording("slt_order"))
    await caller.until(lambda: "Anything else?" in caller.said() and not caller.private.get("pending"), "the answer")
    state = caller.store.records[-1].state
    await caller.close()
    assert caller.said() == ["Hi, what can I get you?", "Anything else?"]
    assert state == {"items": caller.said("user")}
