"""The deadlines of many connections on one timer of the event loop."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final

from voicelink.net.deadline_timer import Clock

_CLOCK_RESOLUTION_S: Final = 0.001
"""The loop calls so much early; what is due by then need not wait for a turn of its own."""


class DeadlineQueue:
    """Keeps `Deadline`s in order, and one timer of the event loop at the earliest of them.

    The deadline of a connection moves with nearly every packet. The timer follows it, so that the loop is never woken
    in vain: on a core that is idle otherwise, a turn of the loop without work costs as much as handling a packet.
    """

    __slots__ = ("_armed_at", "_clock", "_handle", "_heap", "_serial")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Deadline]] = []
        self._serial = count()
        self._armed_at = math.inf
        self._handle: Any = None

    def deadline(self, on_reached: Callable[[float], None]) -> Deadline:
        """Return a deadline that is not set; `on_reached` gets the time, which is no earlier than what was set last."""
        return Deadline(self, on_reached)

    def moved(self, deadline: Deadline) -> None:
        """Follow a deadline that was set or cancelled."""
        self._keep(deadline)
        if self._heap and self._heap[0][2] is deadline:
            self._arm()

    def _keep(self, deadline: Deadline) -> None:
        """Have a place for it that is not behind its time."""
        places = deadline.places
        if deadline.at < (places[-1] if places else math.inf):
            places.append(deadline.at)
            heappush(self._heap, (deadline.at, next(self._serial), deadline))

    def _pop(self) -> Deadline:
        deadline = heappop(self._heap)[2]
        deadline.places.pop()
        return deadline

    def _arm(self) -> None:
        """Take the places that deadlines have moved away from off the top, and set the timer to what is there then."""
        heap = self._heap
        while heap and heap[0][2].at > heap[0][0]:
            self._keep(self._pop())
        earliest = heap[0][0] if heap else math.inf
        if earliest == self._armed_at:
            return
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._armed_at = earliest
        if heap:
            self._handle = self._clock.call_at(earliest, self._fired)

    def _fired(self) -> None:
        self._handle = None
        self._armed_at = math.inf
        now = self._clock.time()
        until = now + _CLOCK_RESOLUTION_S
        due: deque[Deadline] = deque()
        while self._heap and self._heap[0][0] <= until:
            due.append(self._pop())
        try:
            while due:
                deadline = due.popleft()
                if deadline.at <= until:
                    at, deadline.at = deadline.at, math.inf
                    deadline.on_reached(max(at, now))
                else:
                    self._keep(deadline)
        finally:
            for deadline in due:
                self._keep(deadline)
            self._arm()


class Deadline:
    """One moving deadline in a `DeadlineQueue`.

    `places` are the times at which the queue holds it, the earliest last; one that it moved away from is left there
    until it comes to the top, and serves again where the deadline comes back to it.
    """

    __slots__ = ("_queue", "at", "on_reached", "places")

    def __init__(self, queue: DeadlineQueue, on_reached: Callable[[float], None]) -> None:
        self.at = math.inf
        self.on_reached = on_reached
        self.places: list[float] = []
        self._queue = queue

    def set(self, at: float) -> None:
        """Be reached at this time of the loop's clock, and at no other that was set before."""
        if at != self.at:
            self.at = at
            self._queue.moved(self)

    def cancel(self) -> None:
        """Be reached no more before it is set again."""
        self.set(math.inf)

    def release(self) -> None:
        """Never be reached again, and drop the callback, so that it and its owner do not refer to each other."""
        self.cancel()
        self.on_reached = _ignore


def _ignore(now: float) -> None: ...
