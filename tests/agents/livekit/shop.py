"""The agent of the killed workers: files of the folder `SHOP_FOLDER` say what its tool did, and tell it to be slow."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from livekit.agents import Agent, AgentSession, ChatContext, RunContext, function_tool

from tests.agents.livekit.parts import EarsHearing, Words, last_user, new_session
from tests.agents.support.shop_program import add_item_once_open
from voice_gateway.agents.livekit import LiveKitAgent, journalled

FOLDER = Path(os.environ.get("SHOP_FOLDER", "."))
GREETING = "Hi, what can I get you?"


async def _slow(point: str) -> None:
    """Wait there for the test's kill, in the first worker that comes by."""
    wanted = FOLDER / f"slow-{point}"
    if wanted.exists():
        wanted.rename(FOLDER / f"waiting-{point}")
        await asyncio.sleep(60)


class Waiter(Agent):
    async def on_enter(self) -> None:
        self.session.say(GREETING)

    @function_tool
    @journalled
    async def add_item(self, context: RunContext[dict[str, Any]], drink: str, key: str) -> int:
        """Add a drink."""
        with (FOLDER / "effects").open("a") as effects:
            effects.write(f"{key}\n")
        await _slow("tool")
        return 1 + context.userdata.setdefault("items", 0)

    async def llm_node(self, chat_ctx: ChatContext, tools: Any, model_settings: Any) -> Any:
        await _slow("model")
        return Agent.default.llm_node(self, chat_ctx, tools, model_settings)


def rule(items: list[Any]) -> Any:
    if items[-1].type == "function_call_output":
        return "I have a brown sugar milk tea for you. Would you like anything else with it today?"
    if "brown" in last_user(items):
        return ("Let me write that down.", "add_item", {"drink": "brown sugar milk tea"})
    return "All right, thank you."


class Shop(LiveKitAgent):
    def session(self) -> AgentSession[Any]:
        return new_session(rule, userdata={})

    def agent(self, chat_ctx: ChatContext) -> Agent:
        return Waiter(instructions="Take orders.", chat_ctx=chat_ctx)


class QuickWaiter(Agent):
    """Has the tool of `shop_program`."""

    @function_tool
    @journalled
    async def add_item(self, context: RunContext[dict[str, Any]], drink: str, key: str) -> int:
        """Add a drink."""
        await add_item_once_open(drink, key)
        context.userdata["items"] = [*context.userdata.get("items", []), drink]
        return len(context.userdata["items"])


class QuickShop(LiveKitAgent):
    """The shop without a greeting, which speaks tones: for many calls at the same time."""

    def session(self) -> AgentSession[Any]:
        return new_session(rule, Words(), EarsHearing(), userdata={})

    def agent(self, chat_ctx: ChatContext) -> Agent:
        return QuickWaiter(instructions="Take orders.", chat_ctx=chat_ctx)
