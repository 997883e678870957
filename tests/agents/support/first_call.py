"""Opens an agent, and prints what its first call imports: `python -m tests.agents.support.first_call NAME`.

`NAME` is pipecat or livekit. Voice activity and turn detection are the frameworks' own, as users have them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.unit.recordings import recording

SPEECH = bytes(16_000) + recording("slt_order") + bytes(4 * 32_000)


async def pipecats() -> tuple[set[str], list[str]]:
    from pipecat.audio.vad.silero import SileroVADAnalyzer
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams

    from testbed.pipecat_services import FunctionLLM, ToneTTS
    from tests.agents.pipecat.calls import Caller
    from tests.agents.pipecat.shop import EarsSTT, rule
    from tests.agents.support.shop_program import add_item
    from voice_gateway.agents.pipecat import PipecatAgent

    class Shop(PipecatAgent):
        async def pipeline(self, transport: Any, call: Any) -> Any:
            async def add(params: Any, item: str) -> None:
                """Add an item."""
                await params.result_callback(await add_item(item, params.tool_call_id))

            add.__name__ = "add_item"
            context = LLMContext([], tools=[call.tool(add)])
            pair = LLMContextAggregatorPair(
                context, user_params=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
            )
            parts = (EarsSTT(), pair.user(), FunctionLLM(rule), ToneTTS(), transport.output(), pair.assistant())
            return Pipeline([transport.input(), *parts])

    caller = Caller(Shop)
    await caller.start_worker()  # opens an agent, as the call's own worker does
    before = set(sys.modules)
    await caller.call()
    await caller.say(SPEECH)
    await caller.until(lambda: bool(caller.lines("agent")), "the answer", 20.0)
    said = caller.lines("agent")
    await caller.close()
    return set(sys.modules) - before, said


async def livekits() -> tuple[set[str], list[str]]:
    from livekit.agents import AgentSession
    from livekit.agents.inference import VAD

    from tests.agents.livekit.calls import Caller
    from tests.agents.livekit.parts import EarsHearing, Hibari, Rules, Words
    from tests.agents.livekit.shop import QuickShop, rule

    class Shop(QuickShop):
        def session(self) -> AgentSession[Any]:
            parts: dict[str, Any] = {"stt": EarsHearing(), "llm": Rules(rule), "tts": Hibari(Words())}
            return AgentSession(vad=VAD(model="silero"), userdata={}, **parts)

    agent = Shop()
    await agent.open()
    before = set(sys.modules)
    caller = Caller(agent)
    await caller.call()
    await caller.say(SPEECH)
    await caller.until(lambda: len(caller.said()) > 1, "the answer")
    said = caller.said()
    await caller.close()
    return set(sys.modules) - before, said


async def main(name: str) -> None:
    late, said = await (pipecats() if name == "pipecat" else livekits())
    print(json.dumps({"said": said, "late": sorted(late)}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with TemporaryDirectory() as folder:
        os.environ["ORDERS"] = str(Path(folder) / "orders")
        Path(folder, "orders.open").touch()
        asyncio.run(main(sys.argv[1]))
