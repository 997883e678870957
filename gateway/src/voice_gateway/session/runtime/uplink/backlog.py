"""Uplink audio on its way to the agents: every session's in order, and a slice of it in each turn of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from voice_gateway.session.core.effects import Decode, Finish, PressKey, TakeMessage

SLICE_S: Final = 0.4
"""Seconds of audio that all sessions together may bring in one turn of the loop: 3 ms of the order agent's work."""
SHORTEST_S: Final = 0.01
"""A frame counts as this long at least: a very short one costs nearly as much. So does a message or a key."""
_MESSAGE_BYTES: Final = 512
FRAMES_BEHIND: Final = 256
"""Frames of one session that wait, from which on its transport leaves what follows where it is."""

AgentInput = Decode | PressKey | TakeMessage | Finish
"""What the agent takes in the order in which the caller sent it."""


class UplinkScheduler:
    """Shares the event loop's turns among the sessions of a worker; make one per worker.

    While a turn has time left, audio goes to the agent as it arrives. The rest waits in the `Backlog` of its session,
    and sessions that wait take turns, a frame each: minutes of one caller's audio delay another's frame by a slice.
    """

    def __init__(self) -> None:
        self.left_s = SLICE_S
        """How many seconds of audio may still be decoded in this turn of the loop."""
        self._waiting: deque[Backlog] = deque()
        self._is_due = False

    def spent(self, audio_s: float) -> None:
        """So much audio was decoded. While little was, turns need not be distinguished."""
        self.left_s -= audio_s if audio_s > SHORTEST_S else SHORTEST_S
        if self.left_s <= 0:
            self._wake()

    def wait(self, backlog: Backlog) -> None:
        """Work off the backlog in the turns to come, until it is empty; call it once for one that was empty."""
        self._waiting.append(backlog)
        self._wake()

    def _wake(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_due = False
        self.left_s = SLICE_S
        waiting = self._waiting
        while waiting and self.left_s > 0:
            backlog = waiting.popleft()
            backlog.step()
            if backlog.waiting:
                waiting.append(backlog)
        if waiting:
            self._wake()


class Backlog:
    """One session's part: gives what waits to `perform`, in order. It may hold `max_bytes` of payload."""

    def __init__(self, scheduler: UplinkScheduler, perform: Callable[[AgentInput], None], max_bytes: int) -> None:
        self._scheduler = scheduler
        self._perform = perform
        self._max_bytes = max_bytes
        self._bytes = 0
        self.waiting: deque[AgentInput] = deque()
        """Frames and other effects that are not due yet."""

    def is_due(self, effect: AgentInput) -> bool | None:
        """Whether the effect may be carried out now; false if it waits, `None` if there is no room for it."""
        waiting = self.waiting
        if not waiting and self._scheduler.left_s > 0:
            if not isinstance(effect, Decode):
                self._scheduler.spent(0)
            return True
        size = _size(effect)
        if self._bytes + size > self._max_bytes:
            return None
        self._bytes += size
        waiting.append(effect)
        if len(waiting) == 1:
            self._scheduler.wait(self)
        return False

    def step(self) -> None:
        """Carry out the first effect that waits."""
        if not self.waiting:
            return
        effect = self.waiting.popleft()
        self._bytes -= _size(effect)
        if not isinstance(effect, Decode):
            self._scheduler.spent(0)
        self._perform(effect)

    def clear(self) -> None:
        """Forget what waits."""
        self.waiting.clear()
        self._bytes = 0

    def close(self) -> None:
        """Drop what waits, and the reference to the session: the two must not keep each other in memory."""
        self.clear()
        self._perform = _ignore


def _size(effect: AgentInput) -> int:
    """What it counts of `max_bytes`: keys come without end, unlike messages, of which the session takes so many."""
    return len(effect.frame.payload) if isinstance(effect, Decode) else _MESSAGE_BYTES


def _ignore(effect: AgentInput) -> None: ...
