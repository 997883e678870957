"""Calls of coroutine agents: what they say, what survives a worker's end, and what is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.voice_gateway.agent.call.workers import Caller, Words, calling
from voice_gateway.agent.call import Call, Spoken, Turn
from voice_gateway.errors import ServiceError
from voicelink.wire import Bye, CloseCode, Dtmf, Error, Heard, State


async def waiter(call: Call) -> None:
    await call.say("Hi, what can I get you?")
    async for turn in call.turns():
        items = call.state.setdefault("items", [])
        items.append(turn.text)
        await call.say(f"So far {len(items)} things.")


def test_a_call_greets_and_answers_each_turn() -> None:
    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(2.0)
        await caller.speak("a taro")
        await caller.run(2.0)
        await caller.speak("a matcha")
        await caller.run(2.0)

    caller = calling(waiter, scenario)
    assert caller.said() == ["Hi, what can I get you?", "So far 1 things.", "So far 2 things."]
    assert caller.said("user") == ["a taro", "a matcha"]
    assert caller.of(State)[-1].state == {"items": ["a taro", "a matcha"]}


def test_a_greeting_is_not_said_again_at_another_worker() -> None:
    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(2.0)
        caller.kill()
        await caller.come_back()
        await caller.run(1.0)
        await caller.speak("a taro")
        await caller.run(2.0)

    assert calling(waiter, scenario).said() == ["Hi, what can I get you?", "So far 1 things."]


def test_a_greeting_that_was_cut_by_the_workers_end_is_said_to_its_end_once() -> None:
    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(0.5)
        caller.kill()
        await caller.come_back()
        await caller.run(3.0)

    caller = calling(waiter, scenario)
    assert caller.said() == ["Hi, what can I get you?"] * 2  # the second is the session's repetition from 0.5 s on
    assert sum(caller.played.values()) == pytest.approx(1_200, abs=60)


def test_the_state_is_restored_at_another_worker() -> None:
    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(2.0)
        await caller.speak("a taro")
        await caller.run(2.0)
        caller.kill()
        await caller.come_back()
        await caller.speak("a matcha")
        await caller.run(2.0)

    caller = calling(waiter, scenario)
    assert caller.of(State)[-1].state == {"items": ["a taro", "a matcha"]}
    assert caller.said()[-1] == "So far 2 things."


def test_a_pending_turn_comes_first_at_another_worker_and_without_its_audio() -> None:
    turns: list[Turn] = []

    async def thinks(call: Call) -> None:
        async for turn in call.turns():
            turns.append(turn)
            call.state["count"] = call.state.get("count", 0) + 1
            if len(turns) == 1:
                await asyncio.Event().wait()
            await call.say(f"You said {turn.text}.")

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("a taro")
        await caller.run(0.5)
        assert caller.of(Heard)[-1].sequence >= 40
        caller.kill()
        await caller.come_back()
        await caller.speak("a matcha")
        await caller.run(3.0)

    caller = calling(thinks, scenario)
    assert [(turn.number, turn.text, turn.is_again) for turn in turns] == [
        (1, "a taro", False),
        (1, "a taro", True),
        (2, "a matcha", False),
    ]
    assert caller.said() == ["You said a taro.", "You said a matcha."]
    assert caller.of(State)[-1].state == {"count": 2}


def test_an_answer_that_was_being_said_goes_on_at_another_worker_once() -> None:
    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(2.0)
        await caller.speak("a taro")
        await caller.run(0.2)
        caller.kill()
        await caller.come_back()
        await caller.run(3.0)
        await caller.speak("a matcha")
        await caller.run(3.0)

    caller = calling(waiter, scenario)
    assert caller.said()[1:] == ["So far 1 things.", "So far 1 things.", "So far 2 things."]
    assert caller.of(State)[-1].state == {"items": ["a taro", "a matcha"]}


def test_history_holds_what_was_played_of_an_interrupted_answer() -> None:
    spoken: list[Spoken] = []
    histories: list[list[dict[str, str]]] = []

    async def talker(call: Call) -> None:
        async for turn in call.turns():
            histories.append(call.history)
            if turn.number == 1:
                spoken.append(await call.say("one two three four five six seven eight nine ten"))

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("count", pause_s=1.6)
        await caller.speak("stop")
        await caller.run(1.0)

    calling(talker, scenario)
    (cut,) = spoken
    assert cut.is_interrupted
    assert 0 < len(cut.text.split()) < 10
    assert cut.played_ms == pytest.approx(len(cut.text.split()) * 200, abs=200)
    assert histories[-1] == [
        {"role": "user", "content": "count"},
        {"role": "assistant", "content": cut.text},
        {"role": "user", "content": "stop"},
    ]


async def words(*texts: str, delay_s: float = 0.0) -> AsyncIterator[str]:
    for text in texts:
        await asyncio.sleep(delay_s)
        yield text


def test_a_stream_is_said_sentence_by_sentence_as_it_comes() -> None:
    spoken: list[Spoken] = []

    async def talker(call: Call) -> None:
        spoken.append(await call.say(words("One ", "two. Thr", "ee. ", "Four", delay_s=0.1)))
        await asyncio.Event().wait()

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.until(lambda: caller.said() == ["One two."])
        await caller.run(2.0)

    caller = calling(talker, scenario)
    assert caller.said() == ["One two.", "Three.", "Four"]
    assert spoken == [Spoken("One two. Three. Four", 800)]


def test_a_stream_that_is_interrupted_is_closed_and_not_read_on() -> None:
    read: list[str] = []

    async def endless() -> AsyncIterator[str]:
        try:
            for n in range(100):
                read.append(f"Number {n}. ")
                yield read[-1]
                await asyncio.sleep(0.3)
        finally:
            read.append("closed")

    async def talker(call: Call) -> None:
        async for turn in call.turns():
            if turn.number == 1:
                assert (await call.say(endless())).is_interrupted
                await call.say("Fine.")

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("count", pause_s=1.6)
        await caller.speak("stop")
        await caller.run(1.0)

    caller = calling(talker, scenario)
    assert read[-1] == "closed"
    assert len(read) < 10
    assert caller.said()[-1] == "Fine."


@pytest.mark.parametrize("is_inline", [True, False])
@pytest.mark.parametrize("kill_at_s", [0.05, 0.35, 0.65, 1.2])
def test_a_stream_goes_on_at_another_worker_with_the_sentences_that_were_not_said(
    kill_at_s: float, is_inline: bool
) -> None:
    async def talker(call: Call) -> None:
        async for _ in call.turns():
            await call.say(words("One. ", "Two. ", "Three. ", "Four.", delay_s=0.2))
            await call.say("Done.")

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("count")
        await caller.run(kill_at_s)
        caller.kill()
        await caller.come_back()
        await caller.run(4.0)

    caller = calling(talker, scenario, is_inline=is_inline)
    assert sum(caller.played.values()) == pytest.approx(1_000, abs=60)
    texts = list(dict.fromkeys(" ".join(caller.said()).split()))
    assert texts == ["One.", "Two.", "Three.", "Four.", "Done."]


def test_a_coroutine_that_raises_lets_the_caller_hear_an_apology(capsys: pytest.CaptureFixture[str]) -> None:
    async def broken(call: Call) -> None:
        async for turn in call.turns():
            raise ValueError(f"cannot handle {turn.text}")

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("my secret")
        await caller.until(lambda: caller.link.closed is not None)

    caller = calling(broken, scenario, apology="Oh dear, I broke.")
    assert caller.said() == ["Oh dear, I broke."]
    assert sum(caller.played.values()) == 800
    assert caller.of(Error) == [Error(code=CloseCode.AGENT_FAILED, message="the agent failed: ValueError")]
    logged = capsys.readouterr().out
    assert "call_agent_failed" in logged
    assert "secret" not in "".join(line for line in logged.splitlines() if "call_agent_failed" in line)


def test_speech_that_cannot_be_made_ends_the_session_with_an_apology() -> None:
    async def talker(call: Call) -> None:
        await call.say("unspeakable")

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.until(lambda: caller.link.closed is not None)

    caller = calling(talker, scenario, apology="Sorry.")
    assert caller.said()[-1] == "Sorry."
    assert caller.of(Error)[0].message == "the agent failed: AgentError"


def test_a_coroutine_that_returns_ends_the_call() -> None:
    async def short(call: Call) -> None:
        await call.say("We are closed.")

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.until(lambda: caller.link.closed is not None)
        assert caller.link.closed == (CloseCode.NORMAL, "the agent hung up")
        assert await caller.store.load("worker-1-session0") is None

    caller = calling(short, scenario)
    assert sum(caller.played.values()) == 600


def test_hang_up_does_not_return_and_says_why() -> None:
    after: list[str] = []

    async def short(call: Call) -> None:
        await call.hang_up("no more tea")
        after.append("reached")

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.until(lambda: caller.link.closed is not None)

    caller = calling(short, scenario)
    assert caller.of(Bye) == [Bye(frames=0, reason="no more tea")]
    assert after == []


def test_a_bye_is_answered_when_the_last_turn_is() -> None:
    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(2.0)
        await caller.speak("a taro", pause_s=0.1)
        caller.send(Bye(frames=len(caller.sent)))
        await caller.until(lambda: caller.link.closed is not None)

    caller = calling(waiter, scenario)
    assert caller.link.closed == (CloseCode.NORMAL, "bye")
    assert caller.said()[-1] == "So far 1 things."
    assert caller.of(State)[-1].state == {"items": ["a taro"]}


def test_a_key_interrupts_and_is_a_turn() -> None:
    turns: list[tuple[str, bool]] = []

    async def menu(call: Call) -> None:
        assert (await call.say("Press one for tea and press two for everything else.")).is_interrupted
        async for turn in call.turns():
            turns.append((turn.text, turn.is_digit))

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(0.4)
        caller.send(Dtmf(digit="2"))
        await caller.run(0.5)

    calling(menu, scenario)
    assert turns == [("2", True)]


def test_interrupt_stops_what_is_being_said() -> None:
    spoken: list[Spoken] = []

    async def impatient(call: Call) -> None:
        saying = asyncio.create_task(call.say("one two three four five six seven eight"))
        await asyncio.sleep(0.5)
        call.interrupt()
        spoken.append(await saying)
        async for _ in call.turns():
            pass

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(1.0)

    calling(impatient, scenario)
    assert spoken[0].is_interrupted
    assert spoken[0].played_ms == pytest.approx(500, abs=100)


def test_pcm_is_played_and_its_text_written_down() -> None:
    spoken: list[Spoken] = []

    async def tone() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield bytes(4_800)

    async def player(call: Call) -> None:
        spoken.append(await call.say(tone(), text="A tone"))
        async for _ in call.turns():
            pass

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(1.5)

    assert calling(player, scenario).said() == ["A tone"]
    assert spoken == [Spoken("A tone", 500)]


def test_an_agent_that_listens_itself_makes_turns_of_frames() -> None:
    seen: list[str] = []

    async def listen(call: Call) -> None:
        frames = 0
        async for frame in call.audio():
            frames += 1
            if frames == 20:
                call.understood("twenty", frame.sequence)

    async def own_ears(call: Call) -> None:
        listening = asyncio.create_task(listen(call))
        try:
            async for turn in call.turns():
                seen.append(turn.text)
        finally:
            listening.cancel()

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("ignored")
        await caller.run(0.5)

    caller = calling(own_ears, scenario, listens=False)
    assert seen == ["twenty"]
    assert caller.of(Heard)[-1].sequence == 19


def test_events_follow_the_caller() -> None:
    seen: list[str] = []

    async def follow(call: Call) -> None:
        async for event in call.events():
            seen.append(type(event).__name__)

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("a taro")

    calling(follow, scenario)
    assert seen == ["UserStartedSpeaking", "UserStoppedSpeaking"]


def test_nothing_is_said_over_a_caller_who_speaks() -> None:
    async def slow(call: Call) -> None:
        async for turn in call.turns():
            await asyncio.sleep(0.4)
            await call.say(f"You said {turn.text}.")

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("one", pause_s=0.7)
        await caller.speak("two", pause_s=0.1)
        assert caller.said() == []
        await caller.frames(bytes(640), 4.0)

    assert calling(slow, scenario).said() == ["You said one.", "You said two."]


def test_a_state_that_cannot_be_saved_ends_the_call_with_an_apology() -> None:
    async def unplain(call: Call) -> None:
        async for _ in call.turns():
            call.state["x"] = object()

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("hello")
        await caller.until(lambda: caller.link.closed is not None)

    assert calling(unplain, scenario).of(Error)[0].message == "the agent failed: TypeError"


class Deaf(Words):
    """A recogniser whose service fails at the end of each turn."""

    def end(self) -> None:
        self._on_words(ServiceError("speech to text at example.com failed (503)"), True)


@pytest.mark.parametrize("is_busy", [True, False])
def test_a_recogniser_that_fails_ends_the_call_with_an_apology(is_busy: bool) -> None:
    async def agent(call: Call) -> None:
        if is_busy:
            await call.tool(asyncio.sleep, delay=60)
        async for _ in call.turns():
            pass

    async def scenario(caller: Caller) -> None:
        caller.options["recogniser"] = lambda: Deaf(caller)
        await caller.call()
        await caller.speak("a taro")
        await caller.run(4.0)

    caller = calling(agent, scenario)
    assert caller.said() == ["Sorry, something went wrong.", "Please call again."]
    assert caller.of(Error)[-1].code == CloseCode.AGENT_FAILED
    assert caller.of(Error)[-1].message == "the agent failed: ServiceError"


def test_a_recogniser_that_fails_during_the_apology_does_not_cut_it_short() -> None:
    async def agent(call: Call) -> None:
        async for _ in call.events():
            raise LookupError

    async def scenario(caller: Caller) -> None:
        caller.options["recogniser"] = lambda: Deaf(caller)
        await caller.call()
        await caller.speak("a taro")
        await caller.run(4.0)

    caller = calling(agent, scenario)
    assert caller.said() == ["Sorry, something went wrong.", "Please call again."]
    assert caller.of(Error)[-1].message == "the agent failed: LookupError"
