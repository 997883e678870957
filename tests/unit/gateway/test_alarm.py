from __future__ import annotations

import asyncio
import sys

import pytest
import uvloop

from voice_gateway.deadline_timer import Alarm

LONG_S = 3600.0


def rung(run, *delays_s: float) -> tuple[list[float], float]:
    """Set an alarm to all of these delays in one turn of the loop; return when it rang, and the earliest of them."""

    async def ring() -> tuple[list[float], float]:
        loop = asyncio.get_running_loop()
        times: list[float] = []
        has_rung = asyncio.Event()

        def note(now: float) -> None:
            times.append(now)
            has_rung.set()

        alarm, began = Alarm(loop, note), loop.time()
        for delay_s in delays_s:
            alarm.set(began + delay_s)
        await asyncio.wait_for(has_rung.wait(), 5.0)
        alarm.cancel()
        return times, began + min(delays_s)

    return run(ring())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize(
    "delays_s", [(0.0,), (-1.0, 0.0), (0.0, LONG_S), (LONG_S, 0.0), (0.0003, 0.0003, -1.0), (LONG_S, 0.002, LONG_S)]
)
def test_it_rings_once_and_at_the_earliest_time_it_was_set_to(run, delays_s):
    times, due = rung(run, *delays_s)
    assert len(times) == 1
    assert times[0] >= due


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_one_that_is_cancelled_is_silent_until_it_is_set_again(run):
    async def ring() -> list[float]:
        loop = asyncio.get_running_loop()
        times: list[float] = []
        alarm = Alarm(loop, times.append)
        alarm.cancel()
        alarm.set(loop.time())
        alarm.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        assert times == []
        alarm.set(loop.time())
        for _ in range(3):
            await asyncio.sleep(0)
        return times

    assert len(run(ring())) == 1


async def test_whoever_is_called_may_set_it_again():
    loop = asyncio.get_running_loop()
    times: list[float] = []
    is_over = asyncio.Event()

    def note(now: float) -> None:
        times.append(now)
        if len(times) < 3:
            alarm.set(now)
        else:
            is_over.set()

    alarm = Alarm(loop, note)
    alarm.set(loop.time())
    await asyncio.wait_for(is_over.wait(), 5.0)
    assert len(times) == 3


def test_one_that_is_released_lets_go_of_its_callback_and_never_rings():
    class Clock:
        calls = 0

        def time(self) -> float:
            return 0.0

        def call_at(self, when, callback, *args):
            self.calls += 1
            callback()
            return self

        def cancel(self) -> None: ...

    times: list[float] = []
    note = times.append
    alarm = Alarm(Clock(), note)
    before = sys.getrefcount(note)
    alarm.release()
    assert sys.getrefcount(note) == before - 1
    alarm.set(1.0)
    assert times == []
