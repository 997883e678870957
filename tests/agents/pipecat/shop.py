"""A pipeline that takes an order, for workers that are killed: its tool is `shop_program`'s."""

from __future__ import annotations

import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import (
        LLMContextAggregatorPair,
        LLMUserAggregatorParams,
    )
    from tests.agents.pipecat.services import Answer, EnergyVAD, FunctionLLM, ToneTTS

from tests.agents.support.shop_program import add_item_once_open
from voice_gateway.agent.cascade.bandwidth import WidebandRecogniser
from voice_gateway.agents.order.hearing.recogniser_process import ProcessRecogniser
from voice_gateway.agents.order.menu import default_menu
from voice_gateway.agents.pipecat import PipecatAgent
from voice_gateway.agents.pipecat.offline import RecogniserSTTService


def rule(messages: list[dict[str, Any]]) -> Answer:
    """Order what the caller says, then say what was ordered."""
    last = messages[-1]
    if last["role"] == "tool":
        return "I have a brown sugar milk tea for you. Would you like anything else with it today?"
    if last["role"] == "user" and "brown" in last["content"]:
        return "add_item", {"item": "brown sugar milk tea"}
    return "All right, thank you."


class Shop(PipecatAgent):
    """Hears with the order agent's recogniser, and speaks tones."""

    async def open(self) -> None:
        await super().open()
        self.recogniser = WidebandRecogniser(ProcessRecogniser(default_menu()))
        await self.recogniser.open()

    async def pipeline(self, transport: Any, call: Any) -> Any:
        async def add_item(params: Any, item: str) -> None:
            """Add an item."""
            await params.result_callback(await add_item_once_open(item, params.tool_call_id))
            call.state["items"] = [*call.state.get("items", []), item]

        context = LLMContext([{"role": "system", "content": "Take orders."}], tools=[call.tool(add_item)])
        pair = LLMContextAggregatorPair(context, user_params=LLMUserAggregatorParams(vad_analyzer=EnergyVAD()))
        return Pipeline(
            [
                transport.input(),
                RecogniserSTTService(self.recogniser),
                pair.user(),
                FunctionLLM(rule),
                ToneTTS(),
                transport.output(),
                pair.assistant(),
            ]
        )

    async def close(self) -> None:
        await super().close()
        await self.recogniser.close()
