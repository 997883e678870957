"""Turns of the caller that ended without words yet, and what of the vendor's answers waits for those."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from voice_gateway.agents.bridges.bridge.vendor import (
    Answered,
    ItemAudio,
    ItemEnded,
    ItemText,
    ToolRequested,
    VendorEvent,
)

_MOST_HELD: Final = 20_000


class AwaitedWords:
    """Calls `on_missed` where the words of the oldest turn do not come within `words_s`, or too much waits for them."""

    def __init__(self, words_s: float, on_missed: Callable[[], None]) -> None:
        self._words_s = words_s
        self._on_missed = on_missed
        self._ends: deque[int | None] = deque()
        self._late = 0
        """Turns whose words may still come, and are too late."""
        self._timer: asyncio.TimerHandle | None = None
        self._held: deque[VendorEvent] = deque()

    def __bool__(self) -> bool:
        return bool(self._ends)

    @property
    def oldest_end(self) -> int | None:
        """Where the oldest turn ended."""
        return self._ends[0]

    def turn_ended(self, audio_ms: int | None) -> None:
        """The caller stopped speaking there."""
        self._ends.append(audio_ms)
        self._restart()

    def are_late(self) -> bool:
        """Words came: whether they are those of a turn that went on without them."""
        is_late = self._late > 0
        self._late -= is_late
        return is_late

    def missed(self) -> None:
        """The oldest turn goes on without its words."""
        self._late += 1

    def came(self) -> bool:
        """Take the oldest turn's words; false where no turn waited for any."""
        had_turn = bool(self._ends)
        if had_turn:
            self._ends.popleft()
        self._restart()
        return had_turn

    def hold(self, event: VendorEvent) -> bool:
        """Keep an event of an answer until the words are saved that it answers; false where none are awaited."""
        is_answer = isinstance(event, ItemText | ItemAudio | ItemEnded | ToolRequested | Answered)
        if not (is_answer and self._ends) or (isinstance(event, ItemAudio) and event.is_verbatim):
            return False
        self._held.append(event)
        if len(self._held) > _MOST_HELD:
            self._on_missed()
        return True

    def drop_speech(self) -> None:
        """The caller speaks: what is held is not said any more."""
        self._held = deque(each for each in self._held if isinstance(each, ToolRequested | Answered))

    def take_held(self) -> deque[VendorEvent]:
        """Return what was held."""
        held, self._held = self._held, deque()
        return held

    def forget(self) -> None:
        """The session is over."""
        self._ends.clear()
        self._held.clear()
        self._late = 0
        self._restart()

    def close(self) -> None:
        """Wait no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _restart(self) -> None:
        self.close()
        if self._ends:
            self._timer = asyncio.get_running_loop().call_later(self._words_s, self._on_missed)
