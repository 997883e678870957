"""A pipeline over a session: turns, answers sent ahead, words heard, and what a caller that is gone comes back to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pipecat.frames.frames import LLMContextFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from testbed.pipecat_services import WORD_S, Answer, EnergyVAD, FunctionLLM, ScriptedSTT, ToneTTS, silence, voice
from tests.agents.pipecat.calls import Caller
from voice_gateway.agents.pipecat import PipecatAgent, PipecatCall, VoiceTransport
from voice_gateway.agents.pipecat.transport.output.voice_output import VoiceOutput
from voicelink.wire import Bye, Error, Flush, Heard

LONG = "Sure a large taro milk tea is coming up and here are many more words to talk over."


class Bot(PipecatAgent):
    has_logs = bool(os.environ.get("PIPECAT_LOGS"))
    wordless_turn_s = 30.0
    """So long a turn waits for words, and then is one without."""

    """`contexts`, `models` and `effects` are those of all its calls."""

    def __init__(self, texts: list[str], answer: Callable[[list[dict[str, Any]]], Answer], *, has_words: bool) -> None:
        super().__init__()
        self.texts, self.answer, self.has_words = texts, answer, has_words
        self.contexts: list[LLMContext] = []
        self.models: list[FunctionLLM] = []
        self.workers: list[PipelineWorker] = []
        self.effects: list[str] = []
        self.events: list[str] = []
        self.hang: asyncio.Event | None = None

    async def add_item(self, params: Any, item: str) -> None:
        """Add an item."""
        self.effects.append(params.tool_call_id)
        if self.hang is not None:
            await self.hang.wait()
        await params.result_callback({"added": item})

    async def pipeline(self, transport: VoiceTransport, call: PipecatCall) -> PipelineWorker:
        async def add_item(params: Any, item: str) -> None:
            """Add an item."""
            await self.add_item(params, item)

        context = LLMContext([{"role": "system", "content": "Be brief."}], tools=[call.tool(add_item)])
        strategies = UserTurnStrategies(stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0.1)])
        pair = LLMContextAggregatorPair(
            context,
            user_params=LLMUserAggregatorParams(
                vad_analyzer=EnergyVAD(),
                user_turn_strategies=strategies,
                user_turn_stop_timeout=self.wordless_turn_s,
            ),
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

        pipeline = Pipeline(
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
        self.workers.append(self.worker(pipeline))
        return self.workers[-1]

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
        assert caller.played_ms == pytest.approx(3 * WORD_S * 1000, abs=WORD_S * 1000)


class StockClock(VoiceOutput):
    """The control: times of words go by Pipecat's own clock."""

    def _is_timed(self, frame: Any) -> bool:
        return False


async def test_with_pipecats_own_clock_the_context_keeps_words_that_were_not_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(VoiceOutput, "_is_timed", StockClock._is_timed)
    waiter = bot("one taro", "stop")
    async with calling(waiter) as caller:
        await caller.say(voice(0.4) + silence(1.0))
        await caller.until(lambda: caller.played_ms > 300, "speech")
        caller.is_dark = True
        await asyncio.sleep(1.5)
        caller.is_dark = False
        await caller.say(silence(0.3) + voice(0.4) + silence(0.5))
        await caller.until(lambda: bool(waiter.said()), "the words")
    assert len(waiter.said()[0].split()) >= caller.played[1] / 1000 / WORD_S + 2


def ordering(messages: list[dict[str, Any]]) -> Answer:
    """Calls the tool for what the user said last, once for each turn of the user."""
    if messages[-1]["role"] == "tool":
        return f"Added {next(m['content'] for m in reversed(messages) if m['role'] == 'user')}. Anything else?"
    return "add_item", {"item": messages[-1]["content"]}


async def test_a_tool_is_called_once_and_its_result_answers_the_turn() -> None:
    waiter = bot("one taro", answer=ordering)
    async with calling(waiter) as caller:
        await caller.say(voice(0.4) + silence(0.8))
        await caller.until(lambda: waiter.said() == ["Added one taro. Anything else?"], "the answer")
    assert len(waiter.effects) == 1


async def test_a_worker_that_dies_while_a_tool_runs_leaves_the_turn_to_the_next_one() -> None:
    first, second = bot("one taro", answer=ordering), bot(answer=ordering)
    first.hang = asyncio.Event()
    async with calling(first, second) as caller:
        await caller.say(voice(0.4) + silence(0.8))
        await caller.until(lambda: bool(first.effects), "the call of the tool")
        await caller.die()
        await caller.come_back()
        await caller.until(lambda: second.said() == ["Added one taro. Anything else?"], "the answer")
    assert second.effects == first.effects, "the repeated call has the same key"
    users = [message["content"] for message in second.contexts[0].get_messages() if message["role"] == "user"]
    assert users == ["one taro"], "the words are not recognised twice"
    assert "IN_PROGRESS" not in str(second.models[0].runs)


async def test_a_worker_that_dies_after_the_tool_does_not_have_it_called_again() -> None:
    first, second = bot("one taro", answer=ordering), bot(answer=ordering)
    async with calling(first, second) as caller:
        await caller.say(voice(0.4) + silence(0.8))
        await caller.until(lambda: caller.played_ms > 0, "speech")
        await caller.die()
        await caller.come_back()
        await caller.until(lambda: bool(second.said()), "the rest")
    assert len(first.effects) == 1
    assert second.effects == []


async def test_an_answer_that_was_made_is_said_from_where_it_was_and_not_made_again() -> None:
    first, second = bot("one taro"), bot("stop", answer=lambda _: "Stopped.")
    async with calling(first, second) as caller:
        await caller.say(voice(0.4) + silence(0.8))
        await caller.until(lambda: caller.played_ms > 1_000, "speech")
        await caller.die()
        await caller.come_back()
        await caller.until(lambda: second.said() == [LONG], "the rest of the answer")
        assert second.models[0].runs == [], "no model was asked again"
        assert caller.played_ms == pytest.approx(len(LONG.split()) * WORD_S * 1000, abs=500), "each word is played once"
        roles = [message["role"] for message in second.contexts[0].get_messages()]
        assert roles == ["system", "user", "assistant"]
    assert second.events == ["resumed"]


async def test_after_a_takeover_an_interruption_leaves_what_was_heard_at_both_workers() -> None:
    first, second = bot("one taro"), bot("stop", answer=lambda _: "Stopped.")
    async with calling(first, second) as caller:
        await caller.say(voice(0.4) + silence(0.8))
        await caller.until(lambda: caller.played_ms > 1_000, "speech")
        await caller.die()
        await caller.come_back()
        await caller.until(lambda: caller.played_ms > 2_000, "more speech")
        await caller.say(voice(0.4) + silence(0.5))
        await caller.until(lambda: second.said()[-1:] == ["Stopped."], "the next answer")
        heard = second.said()[0]
        flushed = caller.of(Flush)[-1].utterance_id
        played_s = sum(played for number, played in caller.played.items() if number <= flushed) / 1000
    assert LONG.startswith(heard)
    assert heard != LONG
    assert abs(len(heard.split()) - played_s / WORD_S) <= 1.2


async def test_a_caller_who_comes_back_to_the_same_worker_hears_the_rest_from_its_pipeline() -> None:
    waiter = bot("one taro")
    async with calling(waiter) as caller:
        await caller.say(voice(0.4) + silence(0.8))
        await caller.until(lambda: caller.played_ms > 1_000, "speech")
        caller.links[-1].hang_up("lost")
        await asyncio.sleep(0.5)
        await caller.come_back(at_same_worker=True)
        await caller.until(lambda: waiter.said() == [LONG], "the rest")
        assert len(waiter.models[0].runs) == 1
        assert caller.played_ms == pytest.approx(len(LONG.split()) * WORD_S * 1000, abs=500)


async def silent_until_acked(caller: Caller, sequence: int) -> None:
    """Keep silent until the ack of this frame: acks of silence come with frames, and every two seconds at most."""
    async with asyncio.timeout(30):
        while not any(ack.sequence >= sequence for ack in caller.of(Heard)):
            await caller.say(silence(0.1))


async def test_silence_is_acked() -> None:
    async with calling(bot()) as caller:
        await silent_until_acked(caller, 60)


async def test_noise_without_words_is_acked_too() -> None:
    noise = bot("")
    noise.wordless_turn_s = 1.0
    async with calling(noise) as caller:
        await caller.say(voice(0.4))
        await silent_until_acked(caller, 60)


async def test_a_call_that_ends_has_its_last_turn_answered() -> None:
    waiter = bot("one taro", answer=lambda _: "Yes. One taro.")
    async with calling(waiter) as caller:
        await caller.say(voice(0.4))
        caller.send(Bye(frames=len(caller.sent)))
        await caller.until(lambda: bool(caller.of(Bye)), "bye")
    assert caller.lines("agent") == ["Yes.", "One taro."]


async def test_a_pipeline_that_ends_hangs_up_after_its_last_word() -> None:
    waiter = bot("one taro", answer=lambda _: "Good bye.")
    async with calling(waiter) as caller:
        await caller.say(voice(0.4) + silence(0.6))
        await caller.until(lambda: caller.played_ms > 0, "speech")
        await waiter.workers[-1].stop_when_done()
        await caller.until(lambda: bool(caller.of(Bye)), "bye")
        assert caller.played_ms >= 2 * WORD_S * 1000


class Refused(FunctionLLM):
    """Fails as a service whose key is refused."""

    async def process_frame(self, frame: Any, direction: Any) -> None:
        if isinstance(frame, LLMContextFrame):
            await self.push_error("401: a secret", force_treat_as_permanent=True)
        else:
            await super().process_frame(frame, direction)


class Failing(Bot):
    """Its language model is refused, or its pipeline cannot be made."""

    apology = "Sorry."
    can_be_made = True

    async def pipeline(self, transport: VoiceTransport, call: PipecatCall) -> Any:
        if not self.can_be_made:
            raise ValueError("a secret")
        strategies = UserTurnStrategies(stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0.1)])
        params = LLMUserAggregatorParams(vad_analyzer=EnergyVAD(), user_turn_strategies=strategies)
        pair = LLMContextAggregatorPair(LLMContext(), user_params=params)
        model = Refused(self.answer)
        parts = [transport.input(), ScriptedSTT(self.texts), pair.user(), model, ToneTTS(), transport.output()]
        return Pipeline([*parts, pair.assistant()])


@pytest.mark.parametrize(
    ("can_be_made", "sentence"),
    [(False, "the agent failed: ValueError"), (True, "Pipecat's Refused can no longer do its job")],
)
async def test_a_pipeline_that_fails_ends_the_call_after_an_apology(can_be_made: bool, sentence: str) -> None:
    failing = Failing(["one taro"], lambda _: LONG, has_words=True)
    failing.can_be_made = can_be_made
    async with calling(failing) as caller:
        if can_be_made:
            await caller.say(voice(0.4) + silence(0.8))
        await caller.until(lambda: bool(caller.of(Error)), "the end")
        assert caller.of(Error)[0].message == sentence
        assert caller.lines("agent") == ["Sorry."]
        assert caller.played_ms > 300
