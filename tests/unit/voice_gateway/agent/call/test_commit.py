"""Commits within a turn: what a worker that is killed behind one leaves to the next, and what is too large to save."""

from __future__ import annotations

import pytest

from tests.unit.voice_gateway.agent.call.workers import Caller, calling
from voice_gateway.agent.call import Call
from voice_gateway.errors import StateTooLarge
from voicelink.wire import CloseCode, Error, State

SORRY = ["Sorry, something went wrong.", "Please call again."]


class Counter:
    """Counts turns in the state; `has_commit` is false for the control."""

    def __init__(self, has_commit: bool = True) -> None:
        self.has_commit = has_commit
        self.has_saved: list[bool] = []

    async def converse(self, call: Call) -> None:
        async for turn in call.turns():
            call.state["turns"] = call.state.get("turns", 0) + 1
            call.state["last"] = turn.text
            if self.has_commit:
                self.has_saved.append(await call.commit())
            await call.say(f"That was turn {call.state['turns']}.")


def counted(counter: Counter) -> tuple[Caller, list[dict[str, object]]]:
    """One turn, whose worker is killed while the answer is played; and the states that clients had before that."""
    before: list[dict[str, object]] = []

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("one")
        await caller.run(0.1)
        before.extend(each.state for each in caller.of(State))
        caller.kill()
        await caller.come_back()
        await caller.run(3.0)
        await caller.speak("two")
        await caller.run(3.0)

    return calling(counter.converse, scenario), before


def test_a_commit_is_saved_before_the_answer_and_done_once() -> None:
    counter = Counter()
    caller, before = counted(counter)
    assert before[-1] == {"turns": 1, "last": "one"}
    after = [each.state for each in caller.of(State)]
    assert all("turns" in state for state in after[after.index(before[-1]) :]), "what was committed is not taken back"
    assert after[-1] == {"turns": 2, "last": "two"}
    assert list(dict.fromkeys(caller.said())) == ["That was turn 1.", "That was turn 2."]
    assert all(counter.has_saved)


def test_without_a_commit_the_state_comes_with_the_end_of_the_turn() -> None:
    caller, before = counted(Counter(has_commit=False))
    assert not before or before[-1] == {}
    assert caller.of(State)[-1].state == {"turns": 2, "last": "two"}


def test_a_repeated_turn_takes_the_state_that_was_committed_and_not_what_it_makes_again() -> None:
    draws = iter(range(10))

    async def draw(call: Call) -> None:
        async for _ in call.turns():
            call.state["drawn"] = next(draws)
            await call.commit()
            await call.say(f"You drew {call.state['drawn']}.")

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("draw")
        await caller.run(0.1)
        caller.kill()
        await caller.come_back()
        await caller.run(3.0)

    caller = calling(draw, scenario)
    assert caller.of(State)[-1].state == {"drawn": 0}
    assert set(caller.said()) == {"You drew 0."}


def test_a_commit_returns_false_while_the_store_has_not_saved_it() -> None:
    saved: list[bool] = []

    async def commit(call: Call) -> None:
        async for _ in call.turns():
            call.state["x"] = 1
            saved.append(await call.commit(timeout_s=0.5))

    async def scenario(caller: Caller) -> None:
        await caller.call()
        caller.store.kill_at = caller.store.saves + 1  # no later save returns
        await caller.speak("one")
        await caller.run(2.0)

    calling(commit, scenario)
    assert saved == [False]


def test_a_tool_cannot_commit() -> None:
    errors: list[str] = []

    async def converse(call: Call) -> None:
        async def tool() -> None:
            await call.commit()

        try:
            await call.tool(tool)
        except RuntimeError as error:
            errors.append(str(error))

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(1.0)

    calling(converse, scenario)
    assert errors == ["call.commit cannot be called in a tool: commit once the tool has returned"]


async def large() -> str:
    """Return more than a record takes."""
    return "x" * (1 << 20)


@pytest.mark.parametrize("part", ["state", "journal"])
def test_what_is_too_large_is_given_up_with_an_apology_and_the_call_goes_on(part: str) -> None:
    async def converse(call: Call) -> None:
        async for turn in call.turns():
            call.state[turn.text] = True
            if turn.text == "two" and part == "state":
                call.state["x"] = "x" * 70_000
            elif turn.text == "two":
                await call.tool(large)
            await call.say(f"I have {' and '.join(call.state)}." if "x" not in call.state else "Much.")

    async def scenario(caller: Caller) -> None:
        await caller.call()
        for words in ("one", "two", "three"):
            await caller.speak(words)
            await caller.run(5.0)

    caller = calling(converse, scenario)
    assert caller.of(State)[-1].state == {"one": True, "three": True}
    said = [line for line in caller.said() if line != "Much."]
    assert said == ["I have one.", *SORRY, "I have one and three."]
    assert CloseCode.AGENT_FAILED not in [each.code for each in caller.of(Error)]


def test_the_error_names_size_limit_and_remedy() -> None:
    errors: list[StateTooLarge] = []

    async def converse(call: Call) -> None:
        try:
            await call.tool(large)
        except StateTooLarge as error:
            errors.append(error)
        await call.say("Fine.")

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(2.0)

    caller = calling(converse, scenario)
    (error,) = errors
    assert error.limit == 1 << 20 < error.size
    assert "the limit is 1,048,576: keep large data in a store of your own" in str(error)
    assert caller.said() == ["Fine."]
