"""A call in progress does not wait for another one's imports."""

from __future__ import annotations

import subprocess
import sys

OPENED = """
import asyncio, sys
from voice_gateway.agents.pipecat import PipecatAgent
class Bot(PipecatAgent):
    apology = ""
agent = Bot()
if {is_opened}:
    asyncio.run(agent.open())
before = set(sys.modules)
from pipecat.services.llm_service import LLMService
from pipecat.turns.user_turn_strategies import default_user_turn_stop_strategies
LLMService().get_llm_adapter()
default_user_turn_stop_strategies()
print(len(set(sys.modules) - before))
"""


def late_modules(*, is_opened: bool) -> int:
    code = OPENED.format(is_opened=is_opened)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=110)
    return int(result.stdout.split()[-1])


def test_an_agent_that_was_opened_has_imported_what_its_first_call_needs() -> None:
    assert late_modules(is_opened=True) < 30


def test_without_opening_the_first_call_imports_hundreds_of_modules() -> None:
    assert late_modules(is_opened=False) > 300
