from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from voicelink.net.deadline_queue import Deadline, DeadlineQueue

LONG_S = 3600.0


class Loop:
    """A clock that stands still between `turn`s, and at most one timer."""

    def __init__(self) -> None:
        self.now = 100.0
        self.wakes = 0
        self._timer: tuple[float, Callable[..., None]] | None = None

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *args: Any) -> Loop:
        assert self._timer is None, "the former timer was not cancelled"
        self._timer = (when, callback)
        return self

    def cancel(self) -> None:
        self._timer = None

    @property
    def timer_at(self) -> float | None:
        return None if self._timer is None else self._timer[0]

    def advance(self, seconds: float) -> None:
        """Let so much time pass, and call the timer when it is due."""
        end = self.now + seconds
        while self._timer is not None and self._timer[0] <= end:
            when, callback = self._timer
            self._timer = None
            self.now = max(self.now, when)
            self.wakes += 1
            callback()
        self.now = end


class Noted:
    """Deadlines of one queue, and which were reached when."""

    def __init__(self, loop: Loop, count: int) -> None:
        self.reached: list[tuple[int, float]] = []
        self.queue = DeadlineQueue(loop)
        self.deadlines = [self._deadline(index) for index in range(count)]

    def _deadline(self, index: int) -> Deadline:
        return self.queue.deadline(lambda now: self.reached.append((index, now)))


def test_a_deadline_that_moves_away_does_not_wake_the_loop_in_vain() -> None:
    loop = Loop()
    noted = Noted(loop, 2)
    for _ in range(50):
        for deadline in noted.deadlines:
            deadline.set(loop.now + 0.06)
        loop.advance(0.02)
    assert (loop.wakes, noted.reached) == (0, [])
    loop.advance(0.1)
    assert loop.wakes == 1
    assert sorted(index for index, _ in noted.reached) == [0, 1]


def test_deadlines_within_the_resolution_of_the_clock_share_a_wake() -> None:
    loop = Loop()
    noted = Noted(loop, 3)
    for index, deadline in enumerate(noted.deadlines):
        deadline.set(loop.now + 1.0 + index * 0.0004)
    loop.advance(2.0)
    assert loop.wakes == 1
    assert [index for index, _ in noted.reached] == [0, 1, 2]


def test_what_moves_to_and_fro_is_held_at_few_places() -> None:
    loop = Loop()
    [deadline] = Noted(loop, 1).deadlines
    for _ in range(1000):
        deadline.set(loop.now + 30.0)
        deadline.set(loop.now + 0.05)
        loop.advance(0.01)
    assert len(deadline.places) <= 3


def test_cancelled_and_released_ones_leave_no_timer() -> None:
    loop = Loop()
    noted = Noted(loop, 2)
    for deadline in noted.deadlines:
        deadline.set(loop.now + 1.0)
    noted.deadlines[0].cancel()
    noted.deadlines[1].release()
    assert loop.timer_at is None
    loop.advance(2.0)
    assert noted.reached == []


def test_one_that_fails_does_not_keep_the_others_waiting() -> None:
    loop = Loop()
    noted = Noted(loop, 2)

    def fail(now: float) -> None:
        raise ValueError("this one fails")

    failing = noted.queue.deadline(fail)
    for deadline in (failing, *noted.deadlines):
        deadline.set(loop.now + 1.0)
    with pytest.raises(ValueError, match="this one fails"):
        loop.advance(1.0)
    loop.advance(0.0)
    assert [index for index, _ in noted.reached] == [0, 1]


def test_one_reached_may_set_itself_and_cancel_another() -> None:
    loop = Loop()
    noted = Noted(loop, 1)
    times: list[float] = []

    def again(now: float) -> None:
        times.append(now)
        noted.deadlines[0].cancel()
        if len(times) < 3:
            first.set(now)

    first = noted.queue.deadline(again)
    first.set(loop.now + 1.0)
    noted.deadlines[0].set(loop.now + 1.0)
    loop.advance(1.0)
    assert len(times) == 3
    assert noted.reached == []


MOVES = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from((0.0, 0.003, 0.05, 0.06, 1.0, 30.0, math.inf)), st.floats(0.0, 0.1)),
    max_size=60,
)


@given(MOVES)
def test_each_is_reached_once_at_the_time_it_was_set_to_last(moves: list[tuple[int, float, float]]) -> None:
    loop = Loop()
    noted = Noted(loop, 4)
    expected: list[tuple[float, int]] = []
    due: dict[int, float] = {}
    for index, after_s, pass_s in moves:
        due[index] = loop.now + after_s
        noted.deadlines[index].set(due[index])
        end = loop.now + pass_s
        for each in sorted((at, which) for which, at in due.items() if at <= end):
            expected.append(each)
            del due[each[1]]
        loop.advance(pass_s)
        for which, at in list(due.items()):  # due within the resolution of the clock after one that was reached
            if (which, at) in noted.reached:
                expected.append((at, which))
                del due[which]
    assert sorted((at, which) for which, at in noted.reached) == sorted(expected)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_it_runs_on_each_event_loop(run: Callable[..., list[str]]) -> None:
    async def reach() -> list[str]:
        loop = asyncio.get_running_loop()
        queue = DeadlineQueue(loop)
        reached: list[str] = []
        is_over = asyncio.Event()
        late = queue.deadline(lambda now: is_over.set())
        moved = queue.deadline(lambda now: reached.append("moved"))
        soon = queue.deadline(lambda now: reached.append("soon"))
        moved.set(loop.time() + 0.001)
        late.set(loop.time() + 0.02)
        moved.set(loop.time() + LONG_S)
        soon.set(loop.time())
        await asyncio.wait_for(is_over.wait(), 5.0)
        return reached

    assert run(reach()) == ["soon"]
