"""The program and settings in gateway/docs/deepgram-elevenlabs-gemini.md run as they stand, against local vendors."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.agents.support.line import Line
from tests.agents.support.vendors.deepgram import DeepgramSession
from tests.agents.support.vendors.elevenlabs import ElevenLabsSession
from tests.agents.support.vendors.gemini import GeminiSession
from tests.agents.support.vendors.server import KEY, VendorSession, vendor_server
from tests.agents.vendors.test_bridges import TOTAL
from voice_gateway.agent.cascade.cascade import Cascade
from voice_gateway.agent.loading import GivenSettings, load_agent

PAGE = (Path(__file__).parents[3] / "gateway" / "docs" / "deepgram-elevenlabs-gemini.md").read_text("utf-8")
KINDS: list[type[VendorSession]] = [DeepgramSession, ElevenLabsSession, GeminiSession]
SETTINGS = [tomllib.loads(text)["agent"] for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "agent"), list(zip(KINDS, SETTINGS, strict=True)), ids=[each["name"] for each in SETTINGS]
)
async def test_the_documented_settings_take_an_order(
    ears: Cascade, kind: type[VendorSession], agent: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    module = f"shop_for_{agent['name']}"
    (tmp_path / f"{module}.py").write_text(program)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(f"{agent['name'].upper()}_API_KEY", KEY)
    async with vendor_server(ears, kind) as server:
        server.offers_tools = True
        url = server.http_url if kind is ElevenLabsSession else server.url
        settings = {**agent["settings"], "base_url": url, "tools": [f"{module}:take_order"]}
        async with Line(load_agent(agent["name"], GivenSettings(settings))) as line:
            line.conversation.greet()
            await line.until(line.has_ended)
            await line.speak("slt_total")
            await line.until(lambda: line.has_ended(2))
        assert server.violations == []
        assert line.record.said[:2] == [("agent", "Hi, what can I get you?"), ("user", TOTAL)]
        assert f"noted: {TOTAL}" in line.record.said[2][1]


def test_the_documented_variables_of_the_keys_are_those_of_the_agents() -> None:
    for each in SETTINGS:
        assert f"the key is in {each['name'].upper()}_API_KEY" in PAGE
