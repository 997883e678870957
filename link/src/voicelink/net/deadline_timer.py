"""One timer of the event loop for a deadline that moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Clock(Protocol):
    """What a timer needs of the event loop."""

    def time(self) -> float: ...
    def call_at(self, when: float, callback: Callable[..., None], *args: Any) -> Any: ...


class DeadlineTimer:
    """Calls `on_deadline` with the time, no later than at the earliest time that was `set` since the last call.

    It may call before the deadline that was set last: one call in vain costs less than a new timer for each deadline
    that moves away. The callback checks what is due, and sets the timer again.
    """

    __slots__ = ("_at", "_clock", "_handle", "_on_deadline")

    def __init__(self, clock: Clock, on_deadline: Callable[[float], None]) -> None:
        self._clock = clock
        self._on_deadline = on_deadline
        self._at = 0.0  # uvloop's handles do not tell the time if it is less than half a millisecond away
        self._handle: Any = None

    def set(self, at: float) -> None:
        """Call at this time of the loop's clock at the latest."""
        if self._handle is not None:
            if self._at <= at:
                return
            self._handle.cancel()
        self._at = at
        self._handle = self._clock.call_at(at, self._fired)

    def cancel(self) -> None:
        """Do not call before it is set again."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def release(self) -> None:
        """Never call again, and drop the callback, so that a timer and its owner do not refer to each other."""
        self.cancel()
        self._on_deadline = _ignore

    def _fired(self) -> None:
        self._handle = None
        # the loop may call a little early, by the resolution of its clock
        self._on_deadline(max(self._at, self._clock.time()))


def _ignore(now: float) -> None: ...
