"""What becomes of a call when the task that dials for it ends."""

from __future__ import annotations

import asyncio

import pytest

from testbed.waiting import until
from tests.unit.voice_eval.drivers.test_messages import dialling
from voice_eval.drivers.base import Endpoint
from voice_eval.drivers.held_connection import HeldConnection
from voice_eval.drivers.twilio import TwilioLine
from voice_eval.errors import CallFailed, EvalError


def held_line() -> tuple[TwilioLine, HeldConnection]:
    line = TwilioLine(dialling(), Endpoint("http://127.0.0.1:9"))
    return line, HeldConnection(line, "room")


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("no agent came", "no agent came"),
        (EvalError("ws://x: no message of this protocol"), "ws://x: no message of this protocol"),
        (LookupError("a fault of the driver"), "LookupError: a fault of the driver"),
    ],
)
def test_what_ends_a_call_before_its_first_connection_is_raised_and_later_is_its_fault(
    ending: str | Exception, said: str
) -> None:
    async def dial(held: HeldConnection, connections: int) -> str:
        for _ in range(connections):
            held.connected()
            await asyncio.sleep(0)
        if isinstance(ending, Exception):
            raise ending
        return ending

    async def call() -> None:
        line, held = held_line()
        with pytest.raises(CallFailed, match=said):
            await held.open(dial(held, 0))
        assert (line.fault, held.is_open) == (None, False)
        line, held = held_line()
        await held.open(dial(held, 2))
        await until(lambda: line.fault is not None, "the end of the dialling")
        assert (line.fault, held.count) == (said, 2)
        assert [(mark.kind, mark.text) for mark in line.record.marks] == [("reconnected", "room 2")]

    asyncio.run(asyncio.wait_for(call(), 5))


def test_a_caller_who_hangs_up_leaves_no_fault() -> None:
    async def dial(held: HeldConnection, is_endless: bool) -> None:
        held.connected()
        if is_endless:
            await asyncio.Event().wait()

    async def call() -> None:
        for is_endless in (True, False):
            line, held = held_line()
            await held.open(dial(held, is_endless))
            await held.close()
            assert line.fault is None

    asyncio.run(asyncio.wait_for(call(), 5))


def test_closing_while_it_dials_ends_the_wait_for_a_connection() -> None:
    async def call() -> None:
        _, held = held_line()
        opening = asyncio.create_task(held.open(asyncio.Event().wait()))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await held.close()
        with pytest.raises(asyncio.CancelledError):
            await opening

    asyncio.run(asyncio.wait_for(call(), 5))
