"""Sessions share the frames and messages of one turn of the event loop."""

from __future__ import annotations

from collections.abc import Callable

from voice_gateway.transport.read_scheduler import FRAMES_A_TURN, FRAMES_AT_ONCE, ReadScheduler


class Turns:
    """An event loop's `call_soon`; `next` runs what was asked for before it."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def next(self) -> int:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
        return len(callbacks)


class Stream:
    """A stream with a backlog of frames, of a session that may be behind."""

    def __init__(self, scheduler: ReadScheduler, backlog: int) -> None:
        self.backlog = backlog
        self.is_behind = False
        self.visits = 0
        self._scheduler = scheduler
        scheduler.wait(self.read)

    def read(self) -> None:
        self.visits += 1
        frames = 0 if self.is_behind else min(self.backlog, FRAMES_AT_ONCE, self._scheduler.left)
        self._scheduler.spent(frames)
        self.backlog -= frames
        if self.backlog:
            self._scheduler.wait(self.read)


def test_all_streams_together_read_256_frames_in_a_turn() -> None:
    turns = Turns()
    streams = [Stream(ReadScheduler(turns.call_soon), 1_000)]
    scheduler = streams[0]._scheduler
    streams += [Stream(scheduler, 1_000) for _ in range(19)]
    for turn in range(1, 20):
        turns.next()
        assert 20 * 1_000 - sum(each.backlog for each in streams) == turn * FRAMES_A_TURN


def test_streams_are_read_in_rotation() -> None:
    turns = Turns()
    scheduler = ReadScheduler(turns.call_soon)
    streams = [Stream(scheduler, 1_000) for _ in range(20)]
    late = Stream(scheduler, 3)
    for _ in range(3):  # 20 streams of 32 frames are 2.5 turns
        turns.next()
    assert late.backlog == 0
    assert max(each.backlog for each in streams) - min(each.backlog for each in streams) <= 2 * FRAMES_AT_ONCE


def test_what_was_read_at_once_counts_towards_the_turn() -> None:
    turns = Turns()
    scheduler = ReadScheduler(turns.call_soon)
    scheduler.spent(FRAMES_A_TURN + 5)
    assert scheduler.left == 0
    turns.next()
    assert scheduler.left == FRAMES_A_TURN


def test_sessions_that_are_behind_are_asked_once_a_turn_and_keep_no_other_out() -> None:
    turns = Turns()
    scheduler = ReadScheduler(turns.call_soon)
    behind = [Stream(scheduler, 10) for _ in range(5)]
    for each in behind:
        each.is_behind = True
    other = Stream(scheduler, 2 * FRAMES_AT_ONCE)
    turns.next()
    assert other.backlog == 0
    assert all(each.visits <= 3 for each in behind)
    visits = sum(each.visits for each in behind)
    turns.next()
    assert sum(each.visits for each in behind) == visits + len(behind)


def test_nothing_is_asked_for_while_few_frames_are_read_and_nothing_waits() -> None:
    turns = Turns()
    scheduler = ReadScheduler(turns.call_soon)
    scheduler.spent(FRAMES_A_TURN - 1)
    assert turns.next() == 0
    scheduler.spent(1)
    assert scheduler.left == 0
    assert turns.next() == 1
    assert scheduler.left == FRAMES_A_TURN
    assert turns.next() == 0
