"""A pipeline over a session: turns, answers sent ahead, words heard, and what a caller that is gone comes back to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pipecat.frames.frames import LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from tests.agents.pipecat.calls import Caller
from tests.agents.pipecat.services import WORD_S, Answer, EnergyVAD, FunctionLLM, ScriptedSTT, ToneTTS, silence, voice
from voice_gateway.agents.pipecat import PipecatAgent, PipecatCall, VoiceTransport
from voicelink.wire import Flush

LONG = "Sure a large taro milk tea is coming up and here are many more words to talk over."


class Bot(PipecatAgent):
    has_logs = bool(os.environ.get("PIPECAT_LOGS"))

    """`contexts`, `models` and `effects` are those of all its calls."""

    def __init__(self, texts: list[str], answer: Callable[[list[dict[str, Any]]], Answer], *, has_words: bool) -> None:
        super().__init__()
        self.texts, self.answer, self.has_words = texts, answer, has_words
        self.contexts: list[LLMContext] = []
        self.models: list[FunctionLLM] = []
        self.effects: list[str] = []
        self.events: list[str] = []
        self.hang: asyncio.Event | None = None

    async def add_item(self, params: Any, item: str) -> None:
        """Add an item."""
        self.effects.append(params.tool_call_id)
        if self.hang is not None:
            await self.hang.wait()
        await params.result_callback({"added": item})

    async def pipeline(self, transport: VoiceTransport, call: PipecatCall) -> Pipeline:
        async def add_item(params: Any, item: str) -> None:
            """Add an item."""
            await self.add_item(params, item)

        context = LLMContext([{"role": "system", "content": "Be brief."}], tools=[call.tool(add_item)])
        strategies = UserTurnStrategies(stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0.1)])
        pair = LLMContextAggregatorPair(
            context,
            user_params=LLMUserAggregatorParams(vad_analyzer=EnergyVAD(), user_turn_strategies=strategies),
        )
        llm = FunctionLLM(self.answer)
        self.contexts.append(context)
        self.models.append(llm)

        @transport.event_handler("on_client_connected")
        async def on_client_connected(transport: Any, client: Any) -> None:
            self.events.append("connected")

        @transport.event_handler("on_client_resumed")
        async def on_client_resumed(transport: Any, client: Any) -> None:
            self.events.append("resumed")

        return Pipeline(
            [
                transport.input(),
                ScriptedSTT(self.texts),
                pair.user(),
                llm,
                ToneTTS(has_words=self.has_words),
                transport.output(),
                pair.assistant(),
            ]
        )

    def said(self) -> list[str]:
        return [m["content"] for m in self.contexts[-1].get_messages() if m["role"] == "assistant" and m.get("content")]


@asynccontextmanager
async def calling(*bots: Bot) -> AsyncIterator[Caller]:
    each = iter(bots)
    caller = Caller(lambda: next(each))
    try:
        await caller.call()
        await asyncio.sleep(0.2)
        yield caller
    finally:
        await caller.close()


def bot(*texts: str, answer: Callable[[list[dict[str, Any]]], Answer] = lambda _: LONG, has_words: bool = True) -> Bot:
    return Bot(list(texts), answer, has_words=has_words)


async def test_a_turn_is_understood_acked_and_answered() -> None:
    waiter = bot("one taro", answer=lambda messages: f"You said {messages[-1]['content']}.")
    async with calling(waiter) as caller:
        await caller.say(voice(0.4) + silence(0.8))
        await caller.until(lambda: waiter.said() == ["You said one taro."], "the answer")
    assert caller.lines("user") == ["one taro"]
    assert caller.lines("agent") == ["You said one taro."]
    assert waiter.events == ["connected"]


@pytest.mark.parametrize("has_words", [True, False], ids=["words with times", "whole sentences"])
async def test_an_interruption_leaves_the_words_that_were_played_in_the_context(has_words: bool) -> None:
    waiter = bot("one taro", "stop", has_words=has_words)
    async with calling(waiter) as caller:
        await caller.say(voice(0.4) + silence(1.0))
        await caller.until(lambda: caller.played_ms > 800, "speech")
        caller.is_dark = True
        await asyncio.sleep(1.0)
        caller.is_dark = False
        await caller.say(silence(0.5) + voice(0.4) + silence(0.5))
        await caller.until(lambda: bool(caller.of(Flush)), "the interruption")
        await caller.until(lambda: bool(waiter.said()), "the words")
        heard = caller.played[1] / 1000
    (words, *_) = waiter.said()
    assert LONG.startswith(words)
    assert abs(len(words.split()) - heard / WORD_S) <= 1.2


async def test_an_answer_that_was_played_whole_is_in_the_context_whole() -> None:
    waiter = bot("one taro", answer=lambda _: "Yes. One taro.")
    async with calling(waiter) as caller:
        await caller.say(voice(0.4) + silence(0.8))
        await caller.until(lambda: waiter.said() == ["Yes. One taro."], "the answer")
        assert caller.played_ms == 3 * WORD_S * 1000
