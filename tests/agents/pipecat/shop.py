"""A pipeline that takes an order, for workers that are killed: its tool is `shop_program`'s."""

from __future__ import annotations

import io
import warnings
import wave
from collections.abc import AsyncGenerator
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from pipecat.frames.frames import Frame, TranscriptionFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import (
        LLMContextAggregatorPair,
        LLMUserAggregatorParams,
    )
    from pipecat.services.settings import STTSettings
    from pipecat.services.stt_service import SegmentedSTTService
    from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
    from pipecat.turns.user_turn_strategies import UserTurnStrategies

    from testbed.pipecat_services import Answer, EnergyVAD, FunctionLLM, ToneTTS

from tests.agents.support.shop_program import add_item_once_open
from tests.agents.support.vendor_voice import Ears
from voice_gateway.agents.pipecat import PipecatAgent


def rule(messages: list[dict[str, Any]]) -> Answer:
    """Order what the caller says, then say what was ordered."""
    last = messages[-1]
    if last["role"] == "tool":
        return "I have a brown sugar milk tea for you. Would you like anything else with it today?"
    if last["role"] == "user" and "brown" in last["content"]:
        return "add_item", {"item": "brown sugar milk tea"}
    return "All right, thank you."


class EarsSTT(SegmentedSTTService):
    """Knows the recordings: takes little of the processor, for many calls at the same time."""

    def __init__(self) -> None:
        super().__init__(settings=STTSettings(model=None, language=None), ttfs_p99_latency=0.1)
        self._ears = Ears()

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame, None]:
        with wave.open(io.BytesIO(audio)) as file:
            text = self._ears.transcribe(file.readframes(file.getnframes()), file.getframerate())
        yield TranscriptionFrame(text, "", "2026-01-01T00:00:00Z")


class Shop(PipecatAgent):
    """Hears the recordings, and speaks tones."""

    async def pipeline(self, transport: Any, call: Any) -> Any:
        async def add_item(params: Any, item: str) -> None:
            """Add an item."""
            await params.result_callback(await add_item_once_open(item, params.tool_call_id))
            call.state["items"] = [*call.state.get("items", []), item]

        context = LLMContext([{"role": "system", "content": "Take orders."}], tools=[call.tool(add_item)])
        strategies = UserTurnStrategies(stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0.1)])
        user = LLMUserAggregatorParams(vad_analyzer=EnergyVAD(stop_s=0.6), user_turn_strategies=strategies)
        pair = LLMContextAggregatorPair(context, user_params=user)
        return Pipeline(
            [
                transport.input(),
                EarsSTT(),
                pair.user(),
                FunctionLLM(rule),
                ToneTTS(),
                transport.output(),
                pair.assistant(),
            ]
        )
