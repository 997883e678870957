"""How many frames and messages all WebTransport sessions of a worker read in one turn of the event loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

FRAMES_A_TURN: Final = 256
"""Frames and messages that all sessions together read in one turn of the loop: some 8 ms of work."""
FRAMES_AT_ONCE: Final = 32
"""Of them those that one stream may read before the next one that waits has its turn."""


class ReadScheduler:
    """Shares the event loop's turns among the streams of all sessions; make one per worker with `loop.call_soon`.

    What arrives is read at once while the turn has frames left. The rest stays in its stream's buffer, and the streams
    that wait are read in rotation: the backlogs of many sessions delay another session's frame by a few turns.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._left = FRAMES_A_TURN
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_due = False

    @property
    def left(self) -> int:
        """How many frames may still be read in this turn of the loop."""
        return self._left if self._left > 0 else 0

    def spent(self, frames: int) -> None:
        """So many frames were read. While those were few, turns need not be distinguished."""
        self._left -= frames
        if self._left <= 0:
            self._wake()

    def wait(self, read: Callable[[], None]) -> None:
        """Call `read` once, as soon as a turn has frames left; it may read `FRAMES_AT_ONCE`, and wait again."""
        self._waiting.append(read)
        self._wake()

    def _wake(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        self._is_due = False
        self._left = FRAMES_A_TURN
        waiting = self._waiting
        idle = 0  # streams in a row that had to wait for their session
        while waiting and self._left > 0 and idle < len(waiting):
            before = self._left
            waiting.popleft()()
            idle = 0 if self._left < before else idle + 1
        if waiting:
            self._wake()
