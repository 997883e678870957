"""The pages about vendors' agents: their programs and settings run as they stand there, against the local servers."""

from __future__ import annotations

import os
import re
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.agents.support.gpt_live_server import KEY, live_server
from tests.agents.support.line import Line
from tests.agents.support.openai_realtime_server import realtime_server
from tests.agents.support.vendor_voice import SENTENCES, CallTool, Entry, Say
from voice_gateway.agent.loading import load_agent
from voice_gateway.settings.gateway_settings import load_settings

PAGES = Path(__file__).parents[2] / "gateway" / "docs"


def shop_brain(known: list[Entry]) -> Say | CallTool:
    if known and known[-1].role == "tool":
        return Say(f"Your order is {known[-1].text}.")
    if known and known[-1].role == "user":
        return CallTool("add_item", '{"item": "milk tea", "quantity": 1}')
    return Say("Hello.")


@pytest.mark.slow
@pytest.mark.parametrize(("page", "server"), [("openai-realtime", realtime_server), ("gpt-live", live_server)])
async def test_the_program_of_the_page_takes_an_order(
    page: str, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```(python|toml)\n# (\S+)\n(.*?)```", (PAGES / f"{page}.md").read_text(), re.DOTALL)
    for _, name, contents in blocks:
        (tmp_path / name).write_text(contents)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.syspath_prepend(tmp_path)
    running: AbstractAsyncContextManager[Any] = server(brain=shop_brain)
    async with running as vendor:
        monkeypatch.setenv("VOICE_GATEWAY_AGENT_SETTINGS_BASE_URL", vendor.url)
        section = load_settings(tmp_path / "worker.toml", dict(os.environ)).agent
        async with Line(load_agent(section.name, section.settings)) as line:
            await line.speak("slt_order")
            await line.until(lambda: any(each.text == 'Your order is {"milk tea":1}.' for each in line.record.lines))
            assert ("user", SENTENCES["slt_order"]) in line.record.said
