"""An agent of ten lines, and its tool, which writes down each call and takes its time with the first one."""

from __future__ import annotations

import os
import time
from pathlib import Path

from voice_gateway.agent.call import Call, CallAgent, CallOptions
from voice_gateway.agents.order.hearing.recogniser_process import ProcessRecogniser
from voice_gateway.agents.order.menu import default_menu


class Waiter(CallAgent):
    options = CallOptions(recogniser=lambda: ProcessRecogniser(default_menu()))

    async def converse(self, call: Call) -> None:
        await call.say("Hi, what can I get you?")
        async for turn in call.turns():
            call.state["items"] = await call.tool(add, items=call.state.get("items", []), text=turn.text)
            await call.say(f"That makes {len(call.state['items'])}. Anything else?")


def add(items: list[str], text: str, key: str) -> list[str]:
    """Add what was ordered."""
    calls = Path(os.environ["WAITER_CALLS"])
    with calls.open("a") as file:
        file.write(f"{key}\n")
    if len(calls.read_text().splitlines()) == 1:
        time.sleep(30)
    return [*items, text]
