from __future__ import annotations

import asyncio
import sys

import pytest
import uvloop

from voicelink.net.deadline_timer import DeadlineTimer

LONG_S = 3600.0


def fired(run, *delays_s: float) -> tuple[list[float], float]:
    """Set an timer to all of these delays in one turn of the loop; return when it fired, and the earliest of them."""

    async def fire() -> tuple[list[float], float]:
        loop = asyncio.get_running_loop()
        times: list[float] = []
        has_fired = asyncio.Event()

        def note(now: float) -> None:
            times.append(now)
            has_fired.set()

        timer, began = DeadlineTimer(loop, note), loop.time()
        for delay_s in delays_s:
            timer.set(began + delay_s)
        await asyncio.wait_for(has_fired.wait(), 5.0)
        timer.cancel()
        return times, began + min(delays_s)

    return run(fire())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize(
    "delays_s", [(0.0,), (-1.0, 0.0), (0.0, LONG_S), (LONG_S, 0.0), (0.0003, 0.0003, -1.0), (LONG_S, 0.002, LONG_S)]
)
def test_it_fires_once_and_at_the_earliest_time_it_was_set_to(run, delays_s):
    times, due = fired(run, *delays_s)
    assert len(times) == 1
    assert times[0] >= due


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_one_that_is_cancelled_is_silent_until_it_is_set_again(run):
    async def fire() -> list[float]:
        loop = asyncio.get_running_loop()
        times: list[float] = []
        timer = DeadlineTimer(loop, times.append)
        timer.cancel()
        timer.set(loop.time())
        timer.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        assert times == []
        timer.set(loop.time())
        for _ in range(3):
            await asyncio.sleep(0)
        return times

    assert len(run(fire())) == 1


async def test_the_callback_may_set_it_again():
    loop = asyncio.get_running_loop()
    times: list[float] = []
    is_over = asyncio.Event()

    def note(now: float) -> None:
        times.append(now)
        if len(times) < 3:
            timer.set(now)
        else:
            is_over.set()

    timer = DeadlineTimer(loop, note)
    timer.set(loop.time())
    await asyncio.wait_for(is_over.wait(), 5.0)
    assert len(times) == 3


def test_one_that_is_released_drops_its_callback_and_never_fires():
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
    timer = DeadlineTimer(Clock(), note)
    before = sys.getrefcount(note)
    timer.release()
    assert sys.getrefcount(note) == before - 1
    timer.set(1.0)
    assert times == []
