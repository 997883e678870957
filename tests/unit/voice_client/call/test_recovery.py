"""Recovery of a call; its times and outcomes are in the recorded traces (`test_traces.py`)."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from testbed.simnet.loop import VirtualLoop
from tests.vectors.traces.generate import FOLDER
from tests.vectors.traces.players import SimulatedCall, play_recovery

TRACES = {trace["what"]: trace for trace in json.loads((FOLDER / "recovery.json").read_text())}


@pytest.mark.parametrize(
    ("trace", "changes"),
    [
        ("a silent connection is replaced", ["call_interrupted", "redial_attempt", "call_resumed"]),
        ("a pause shorter than the limit changes nothing", []),
        ("the token is refused: ended at once", ["call_interrupted", "redial_attempt"]),
    ],
)
def test_each_change_of_recovery_is_logged_once(
    trace: str, changes: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "voice_client")
    play_recovery(TRACES[trace])
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("voice_client")]
    assert [line.partition(" ")[0] for line in logged] == changes


def test_a_program_that_was_held_up_reads_what_came_before_it_takes_the_connection_for_lost() -> None:
    loop = VirtualLoop()

    def hold_up() -> None:
        loop._now += 2.0
        loop.call_later(0.01, answered)  # what arrived meanwhile is read after the timers that are due

    async def scenario() -> list[Any]:
        call = SimulatedCall(TRACES["a silent connection is replaced"])
        call.recovery.watch()
        call.link.connection.silent_since = loop.time()
        loop.call_later(0.03, hold_up)
        calls.append(call)
        await asyncio.sleep(3.0)
        call.recovery.stop()
        return call.outputs

    def answered() -> None:
        calls[0].link.connection.silent_since = None

    calls: list[SimulatedCall] = []
    assert loop.run_until_complete(scenario()) == []
    loop.close()
