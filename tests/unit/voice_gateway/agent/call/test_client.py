"""A call and its client's application: tools, messages, typed turns, digits, hold audio and transfer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.unit.voice_gateway.agent.call.workers import OUTPUT_RATE_HZ, Caller, Converse, on_virtual_time
from voice_client.call.messages import Messages
from voice_gateway.agent.call import Call, ClientToolError, ClientToolInterrupted, ClientToolTimeout, Turn
from voicelink.wire import App, Bye, Dtmf, State, Text, ToolCall, ToolCancel, ToolResult, Transfer

MOST_SAVES = 20


def calling(
    converse: Converse, scenario: Callable[[Caller], Awaitable[None]], *, has_messages: bool = True, **tools: Any
) -> Caller:
    caller = Caller(converse, messages=Messages() if has_messages else None)
    for name, tool in tools.items():
        caller.tools.register(name, tool)

    async def run() -> None:
        try:
            await scenario(caller)
        finally:
            await caller.close()

    on_virtual_time(run)
    return caller


class Locator:
    """A tool of the client, slow enough to be asked again; `runs` counts its effects."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.runs = 0
        self._delay_s = delay_s

    async def where(self, accuracy_m: int) -> dict[str, Any]:
        self.runs += 1
        await asyncio.sleep(self._delay_s)
        return {"lat": 52.5, "accuracy_m": accuracy_m}


async def guide(call: Call) -> None:
    async for turn in call.turns():
        place = await call.client_tool("where", accuracy_m=10)
        call.state.setdefault("places", []).append([turn.text, place["lat"]])
        call.send({"places": len(call.state["places"])})
        await call.say("Found.")


def test_a_tool_of_the_client_returns_its_result() -> None:
    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.speak("where am I")
        await caller.run(2.0)

    locator = Locator(0.3)
    caller = calling(guide, scenario, where=locator.where)
    assert caller.of(State)[-1].state == {"places": [["where am I", 52.5]]}
    assert [type(each) for each in caller.received] == [ToolCall, App]
    assert caller.messages is not None
    assert caller.messages.unacked == 0


@pytest.mark.parametrize("is_saved_first", [False, True], ids=["unsaved", "saved"])
@pytest.mark.parametrize("kill_at", range(2, MOST_SAVES))
def test_a_tool_runs_once_and_a_message_comes_once_wherever_the_worker_dies(kill_at: int, is_saved_first: bool) -> None:
    locator = Locator(0.1)

    async def scenario(caller: Caller) -> None:
        caller.store.kill_at, caller.store.is_saved_first = kill_at, is_saved_first
        caller.store.on_kill = caller.kill
        await caller.call()
        for text in ("here", "there"):
            caller.say(Text(number=0, text=text))
            for _ in range(3):
                await caller.run(0.6)
                if not caller.is_alive:
                    await caller.come_back()

    caller = calling(guide, scenario, where=locator.where)
    assert locator.runs == 2
    assert caller.said("user")[-1] == "there"
    assert caller.of(State)[-1].state == {"places": [["here", 52.5], ["there", 52.5]]}
    assert [each.data for each in caller.received if isinstance(each, App)] == [{"places": 1}, {"places": 2}]
    assert caller.messages is not None
    assert caller.messages.unacked == 0


def test_the_worker_dies_between_a_tools_effect_and_its_result() -> None:
    locator = Locator(1.0)

    async def scenario(caller: Caller) -> None:
        await caller.call()
        caller.say(Text(number=0, text="here"))
        await caller.until(lambda: locator.runs == 1)
        caller.kill()
        await caller.run(2.0)  # the tool returns while there is no worker
        await caller.come_back()
        await caller.run(2.0)

    caller = calling(guide, scenario, where=locator.where)
    assert locator.runs == 1
    assert caller.of(State)[-1].state == {"places": [["here", 52.5]]}
    assert len({each.call_id for each in caller.received if isinstance(each, ToolCall)}) == 1


def failing(error: Exception) -> Callable[..., Any]:
    def tool(**_arguments: Any) -> None:
        raise error

    return tool


@pytest.mark.parametrize(
    ("has_messages", "tools", "reason"),
    [
        (True, {}, "the client has no tool where"),
        (True, {"where": failing(RuntimeError("no signal"))}, "no signal"),
        (
            True,
            {"where": lambda **_arguments: object()},
            "the result cannot be sent: a message holds plain values alone",
        ),
        (False, {}, "the client takes no messages, and has no tools"),
    ],
    ids=["unknown", "raises", "not-plain", "no-messages"],
)
def test_a_tool_that_cannot_run_fails_at_once(has_messages: bool, tools: dict[str, Any], reason: str) -> None:
    errors: list[tuple[float, ClientToolError]] = []

    async def asking(call: Call) -> None:
        began = asyncio.get_running_loop().time()
        try:
            await call.client_tool("where")
        except ClientToolError as error:
            errors.append((asyncio.get_running_loop().time() - began, error))
        await asyncio.Event().wait()

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(1.0)

    calling(asking, scenario, has_messages=has_messages, **tools)
    ((waited_s, error),) = errors
    assert error.name == "where"
    assert error.reason.startswith(reason)
    assert waited_s < 0.2


def test_a_tool_that_takes_too_long_is_cancelled_and_its_late_result_dropped() -> None:
    errors: list[Exception] = []
    locator = Locator(5.0)

    async def asking(call: Call) -> None:
        try:
            await call.client_tool("where", timeout_s=1.0, accuracy_m=1)
        except ClientToolTimeout as error:
            errors.append(error)
        await call.say("Never mind.")
        await asyncio.Event().wait()

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(7.0)

    caller = calling(asking, scenario, where=locator.where)
    assert str(errors[0]) == "the client's tool where: no answer came within 1 s"
    assert isinstance(caller.received[-1], ToolCancel)
    assert caller.said() == ["Never mind."]
    assert caller.messages is not None
    assert caller.messages.unacked == 0


@pytest.mark.parametrize("cancel_on_interrupt", [True, False])
def test_a_tool_is_cancelled_when_the_caller_speaks_if_so_asked(cancel_on_interrupt: bool) -> None:
    outcomes: list[Any] = []
    locator = Locator(2.0)

    async def asking(call: Call) -> None:
        async for _turn in call.turns():
            try:
                outcomes.append(await call.client_tool("where", cancel_on_interrupt=cancel_on_interrupt, accuracy_m=1))
            except ClientToolInterrupted as error:
                outcomes.append(error)
            return

    async def scenario(caller: Caller) -> None:
        await caller.call()
        caller.say(Text(number=0, text="where"))
        await caller.run(0.5)
        await caller.speak("no wait")
        await caller.run(3.0)

    calling(asking, scenario, where=locator.where)
    assert isinstance(outcomes[0], ClientToolInterrupted if cancel_on_interrupt else dict)


def test_a_client_cannot_answer_for_a_tool_of_the_worker() -> None:
    keys: list[str] = []
    results: list[str] = []

    async def charge(key: str) -> str:
        keys.append(key)
        await asyncio.sleep(1.0)
        return "charged"

    async def shop(call: Call) -> None:
        results.append(await call.tool(charge))
        await asyncio.Event().wait()

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(0.2)
        caller.say(ToolResult(number=0, call_id=keys[0], result="free"))
        await caller.run(2.0)

    calling(shop, scenario)
    assert results == ["charged"]


def test_typed_text_is_a_turn_that_interrupts() -> None:
    turns: list[Turn] = []

    async def talker(call: Call) -> None:
        await call.say("one two three four five six seven eight nine ten")
        async for turn in call.turns():
            turns.append(turn)
            await call.say(f"You typed {turn.text}.")

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(0.6)
        caller.say(Text(number=0, text="Two teas, please"))
        await caller.run(3.0)

    caller = calling(talker, scenario)
    ((turn),) = turns
    assert (turn.text, turn.is_text, turn.is_digit) == ("Two teas, please", True, False)
    assert caller.said("user") == ["Two teas, please"]
    assert caller.said()[-1] == "You typed Two teas, please."


def test_messages_come_in_order_and_again_until_the_next_is_asked_for() -> None:
    read: list[Any] = []

    async def reader(call: Call) -> None:
        async for message in call.messages():
            read.append(message["n"])
            call.state["n"] = message["n"]
            if message["n"] == 2 and read.count(2) == 1:
                await asyncio.Event().wait()

    async def scenario(caller: Caller) -> None:
        await caller.call()
        for n in (1, 2):
            caller.say(App(number=0, data={"n": n}))
        await caller.run(0.5)
        caller.kill()
        caller.say(App(number=0, data={"n": 3}))
        await caller.come_back()
        await caller.run(0.5)

    caller = calling(reader, scenario)
    assert read == [1, 2, 2, 3]
    assert caller.of(State)[-1].state == {"n": 3}


def test_digits_are_collected_and_make_no_turns() -> None:
    collected: list[str] = []
    turns: list[str] = []

    async def pin(call: Call) -> None:
        async for turn in call.turns():
            turns.append(turn.text)
            if turn.text == "pin":
                collected.append(await call.digits(6, timeout_s=2.0))
                collected.append(await call.digits(2, timeout_s=2.0))
                call.state["pins"] = collected[-2:]

    async def scenario(caller: Caller) -> None:
        await caller.call()
        caller.say(Text(number=0, text="pin"))
        await caller.run(0.2)
        for digit in "12":
            caller.send(Dtmf(digit=digit))
        await caller.run(0.5)
        caller.kill()
        await caller.come_back()
        for digit in "34#5":
            caller.send(Dtmf(digit=digit))
        await caller.run(3.0)
        caller.send(Dtmf(digit="9"))
        await caller.run(0.5)

    caller = calling(pin, scenario)
    assert collected == ["1234", "5"]
    assert turns == ["pin", "pin", "9"]
    assert caller.of(State)[-1].state == {"pins": ["1234", "5"]}


def test_hold_audio_is_repeated_until_the_block_ends_and_stops_for_speech() -> None:
    loud = b"\1\0" * (OUTPUT_RATE_HZ // 2)

    async def busy(call: Call) -> None:
        await call.say("One moment.")
        async with call.hold(loud):
            await asyncio.sleep(3.0)
            await call.say("Still here.")
            await asyncio.sleep(1.0)
        await call.say("Done.")
        await asyncio.Event().wait()

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(8.0)

    caller = calling(busy, scenario)
    assert caller.said() == ["One moment.", "Still here.", "Done."]
    held_ms = caller.played[2]
    assert 2_500 <= held_ms <= 3_300
    assert caller.link.utterances[2].is_reset


@pytest.mark.parametrize("has_messages", [True, False])
def test_a_transfer_reaches_the_client_before_the_call_ends(has_messages: bool) -> None:
    async def desk(call: Call) -> None:
        await call.say("I put you through.")
        await call.transfer("sip:desk@example.com")

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(3.0)

    caller = calling(desk, scenario, has_messages=has_messages)
    messages = [each for each in caller.link.messages if isinstance(each, Transfer | Bye)]
    assert [type(each) for each in messages] == [Transfer, Bye]
    assert messages[0].target == "sip:desk@example.com"
    assert messages[1].reason == "the call was transferred"


def test_a_transfer_that_was_lost_with_its_worker_is_sent_again() -> None:
    async def desk(call: Call) -> None:
        await call.say("Hi.")
        async for _turn in call.turns():
            await call.transfer("sales")

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(1.0)
        caller.store.on_kill, caller.store.is_saved_first = caller.kill, True
        caller.store.kill_at = caller.store.saves + 2
        caller.say(Text(number=0, text="sales"))
        await caller.until(lambda: not caller.is_alive)
        assert caller.of(Transfer) == []
        await caller.come_back()
        await caller.run(1.0)

    caller = calling(desk, scenario)
    assert [each.target for each in caller.of(Transfer)] == ["sales"]
    assert isinstance(caller.link.messages[-1], Bye)


def refused(ask: Callable[[Call], Awaitable[Any]]) -> str:
    """Return the error with which a call refuses what its agent asks for."""
    errors: list[str] = []

    async def asking(call: Call) -> None:
        try:
            await ask(call)
        except ValueError as error:
            errors.append(str(error))
        await asyncio.Event().wait()

    async def scenario(caller: Caller) -> None:
        await caller.call()
        await caller.run(0.2)
        assert caller.received == []

    calling(asking, scenario)
    return errors[0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [({"blob": b"1"}, "plain values"), ({1: 2}, "plain values"), ({"long": "x" * 20_000}, "at most 15872 bytes")],
)
def test_a_message_that_cannot_be_sent_is_refused_where_it_is_said(data: Any, reason: str) -> None:
    async def send(call: Call) -> None:
        call.send(data)

    assert reason in refused(send)


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("", {}, "1 to 64 characters"),
        ("x" * 65, {}, "1 to 64 characters"),
        ("where", {"timeout_s": 0}, "a timeout_s above 0"),
        ("where", {"timeout_s": 3_601}, "a timeout_s above 0"),
        ("where", {"at": object()}, "plain values by name"),
        ("where", {"long": "x" * 20_000}, "at most 15872 bytes"),
    ],
)
def test_a_tool_that_no_client_takes_is_refused_where_it_is_called(
    name: str, arguments: dict[str, Any], reason: str
) -> None:
    assert reason in refused(lambda call: call.client_tool(name, **arguments))
