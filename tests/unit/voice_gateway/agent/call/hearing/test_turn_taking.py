"""What of a caller's speech interrupts a call agent, and what it hears while a tool runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.voice_gateway.agent.call.workers import QUIET, VOICE, Caller, Words, calling, on_virtual_time
from voice_client.call.messages import Messages
from voice_gateway.agent.call import BACKCHANNELS, Call, ClientToolInterrupted, Interruptions, Spoken, WhileSpeaking
from voice_gateway.agent.cascade.parts import OnWords
from voicelink.wire import Flush, Text

LONG = "one two three four five six seven eight nine ten"
POLITE = Interruptions(backchannels=BACKCHANNELS)


class Streaming(Words):
    """Understands all words 200 ms after speech was noticed."""

    def begin(self, on_words: OnWords) -> Streaming:
        super().begin(on_words)
        self._fed = 0
        return self

    def feed(self, pcm: bytes) -> None:
        self._fed += 1
        if self._fed == 10:
            self._on_words(tuple(self._caller.meant.split()), False)


def talk(
    words: str,
    interruptions: Interruptions | None,
    *,
    is_streaming: bool = False,
    at_s: float = 0.5,
    voice_s: float = 0.3,
) -> tuple[Caller, list[Spoken], list[str]]:
    """An agent says ten words in two seconds; the caller speaks meanwhile."""
    spoken: list[Spoken] = []
    turns: list[str] = []

    async def agent(call: Call) -> None:
        spoken.append(await call.say(LONG))
        async for turn in call.turns():
            turns.append(turn.text)

    async def scenario(caller: Caller) -> None:
        if is_streaming:
            caller.options["recogniser"] = lambda: Streaming(caller)
        await caller.call()
        await caller.run(at_s)
        caller.meant = words
        await caller.frames(VOICE, voice_s)
        await caller.frames(QUIET, 0.8)
        await caller.run(3.0)

    options: dict[str, Any] = {} if interruptions is None else {"interruptions": interruptions}
    return calling(agent, scenario, **options), spoken, turns


def test_speech_interrupts_at_once_by_default() -> None:
    _, (spoken,), turns = talk("mhm", None)
    assert spoken.is_interrupted
    assert turns == ["mhm"]


@pytest.mark.parametrize("words", ["mhm", "Mhm, yeah!", "OK."])
@pytest.mark.parametrize("is_streaming", [True, False])
def test_a_backchannel_neither_interrupts_nor_makes_a_turn(words: str, is_streaming: bool) -> None:
    caller, (spoken,), turns = talk(words, POLITE, is_streaming=is_streaming)
    assert spoken == Spoken(LONG, 2_000)
    assert turns == []
    assert not caller.of(Flush)


def test_noise_does_not_interrupt_where_interruptions_are_held() -> None:
    _, (spoken,), turns = talk("", POLITE)
    assert not spoken.is_interrupted
    assert turns == []


@pytest.mark.parametrize(("is_streaming", "least_ms", "most_ms"), [(True, 500, 900), (False, 1_300, 1_600)])
def test_a_real_word_interrupts_when_it_is_recognised(is_streaming: bool, least_ms: int, most_ms: int) -> None:
    """What waiting costs: with partial transcripts their delay, without them the whole turn and its pause."""
    _, (spoken,), turns = talk("yeah but wait", POLITE, is_streaming=is_streaming)
    assert spoken.is_interrupted
    assert least_ms <= spoken.played_ms <= most_ms
    assert turns == ["yeah but wait"]


def test_speech_that_lasts_interrupts_without_words() -> None:
    _, (spoken,), turns = talk("so", Interruptions(min_words=2, after_ms=400), voice_s=1.0)
    assert spoken.is_interrupted
    assert spoken.played_ms < 1_100
    assert turns == ["so"]


def test_fewer_words_than_asked_for_are_dropped() -> None:
    _, (spoken,), turns = talk("so what", Interruptions(min_words=3))
    assert not spoken.is_interrupted
    assert turns == []


@pytest.mark.parametrize(("words", "is_interrupted"), [("mhm", False), ("no wait", True)])
def test_a_tool_of_the_client_is_cancelled_by_words_that_interrupt(words: str, is_interrupted: bool) -> None:
    outcomes: list[Any] = []

    async def slow() -> str:
        await asyncio.sleep(4.0)
        return "done"

    async def agent(call: Call) -> None:
        async for _turn in call.turns():
            async with call.hold(b"\1\0" * 24_000):
                try:
                    outcomes.append(await call.client_tool("slow", cancel_on_interrupt=True))
                except ClientToolInterrupted:
                    outcomes.append(None)

    caller = Caller(agent, {"interruptions": POLITE}, messages=Messages())
    caller.options["recogniser"] = lambda: Streaming(caller)
    caller.tools.register("slow", slow)

    async def scenario() -> None:
        await caller.call()
        caller.say(Text(number=0, text="go"))
        await caller.run(0.6)
        await caller.speak(words)
        await caller.run(4.0)
        await caller.close()

    on_virtual_time(scenario)
    assert outcomes[0] == (None if is_interrupted else "done")


def test_a_backchannel_that_ends_after_the_agent_has_is_an_answer() -> None:
    _, (spoken,), turns = talk("yeah", POLITE, at_s=1.8)
    assert not spoken.is_interrupted
    assert turns == ["yeah"]


def test_a_backchannel_in_silence_is_a_turn() -> None:
    _, _, turns = talk("yeah", POLITE, at_s=3.0)
    assert turns == ["yeah"]


def test_words_during_speech_that_is_not_interruptible_are_answered_after_it() -> None:
    _, (spoken,), turns = talk("a taro", Interruptions(WhileSpeaking.LISTEN), is_streaming=True)
    assert spoken == Spoken(LONG, 2_000)
    assert turns == ["a taro"]


def test_words_during_speech_may_be_ignored() -> None:
    _, (spoken,), turns = talk("a taro", Interruptions(WhileSpeaking.IGNORE), is_streaming=True)
    assert spoken == Spoken(LONG, 2_000)
    assert turns == []


def slow_agent(tool_s: float) -> Any:
    async def look_up(item: str) -> str:
        await asyncio.sleep(tool_s)
        return item

    async def agent(call: Call) -> None:
        async for turn in call.turns():
            first = await call.tool(look_up, item=turn.text)
            await call.tool(look_up, item="the price")
            await call.say(f"Added {first}.")

    return agent


def test_a_filler_is_said_once_before_the_answer_of_a_slow_tool() -> None:
    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("a taro")
        await caller.run(8.0)

    caller = calling(slow_agent(2.0), scenario, filler="One moment.", filler_after_s=1.0)
    assert caller.said() == ["One moment.", "Added a taro."]


def test_a_fast_tool_has_no_filler() -> None:
    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("a taro")
        await caller.run(4.0)

    assert calling(slow_agent(0.2), scenario, filler="One moment.", filler_after_s=1.0).said() == ["Added a taro."]


@pytest.mark.parametrize("killed_after_s", [2.0, 4.6])
def test_a_filler_does_not_confuse_a_repeated_turn(killed_after_s: float) -> None:
    """Killed while the tool runs, and while its answer is said."""

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("a taro")
        await caller.run(killed_after_s)
        caller.kill()
        await caller.come_back()
        await caller.run(8.0)

    caller = calling(slow_agent(2.0), scenario, filler="One moment.", filler_after_s=1.0)
    assert list(dict.fromkeys(caller.said()))[:2] in (["One moment.", "Added a taro."],)
    assert sum(caller.played.values()) == pytest.approx(5 * 200, abs=60)


def test_a_call_that_ends_during_a_filler_leaves_no_task() -> None:
    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("a taro")
        await caller.run(1.2)
        assert caller.said() == ["One moment."]

    calling(slow_agent(9.0), scenario, filler="One moment.", filler_after_s=1.0)
