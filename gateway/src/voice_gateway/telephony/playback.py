"""How much of our audio the caller has heard, by the vendor's marks, sans-IO.

Vendors queue audio and play it in order; a mark comes back when all audio before it was played, or at once when the
queue is cleared. So a mark says that something was heard only while its generation was not cleared.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

MARK_EVERY_MS: Final = 200
"""How far the marks of one generation are apart; the first stands behind its first frame."""


@dataclass(frozen=True, slots=True)
class Heard:
    """`position_ms` of `generation` has been played; `is_complete` once all of it has."""

    generation: int
    position_ms: int
    is_complete: bool = False


class PlaybackTracker:
    """Follows the vendor's queue for one stream, by what is sent and what comes back, in order."""

    def __init__(self) -> None:
        self._sent_generation: int | None = None
        self._sent_ms = 0.0
        self._unmarked_ms = 0.0
        self._pending: deque[_Mark] = deque()
        self._heard: Heard | None = None
        self._heard_at = 0.0

    @property
    def has_pending(self) -> bool:
        """Whether audio or marks are queued that have not come back as played."""
        return bool(self._pending) or self._unmarked_ms > 0

    def sent(self, generation: int, duration_ms: float) -> str | None:
        """Audio was sent; return the name of the mark to send behind it, if one is due."""
        is_first = generation != self._sent_generation
        if is_first:
            self._sent_generation, self._sent_ms, self._unmarked_ms = generation, 0.0, 0.0
        self._sent_ms += duration_ms
        self._unmarked_ms += duration_ms
        return self._mark(generation) if is_first or self._unmarked_ms >= MARK_EVERY_MS else None

    def ended(self, generation: int) -> str:
        """All audio of the generation was sent; return the name of its last mark."""
        if generation != self._sent_generation:
            self._sent_generation, self._sent_ms = generation, 0.0
        return self._mark(generation, is_end=True)

    def cleared(self) -> None:
        """The queue is to be dropped: marks that are still to come back say nothing."""
        self._pending.clear()
        self._unmarked_ms = 0.0
        self._heard = None

    def returned(self, name: str, now: float) -> Heard | None:
        """A mark came back: what has been heard by then, `None` if the mark is not one that is waited for."""
        if all(mark.name != name for mark in self._pending):
            return None
        while (mark := self._pending.popleft()).name != name:
            pass
        self._heard = Heard(mark.generation, mark.position_ms, mark.is_end)
        self._heard_at = now
        return self._heard

    def heard(self, now: float) -> Heard | None:
        """The last mark that came back plus the time since, never beyond the next mark; `None` before the first."""
        if self._heard is None or not self._pending:
            return self._heard
        generation, reached_ms = self._pending[0].generation, self._pending[0].position_ms
        start_ms = self._heard.position_ms if self._heard.generation == generation else 0
        elapsed_ms = round((now - self._heard_at) * 1000)
        return Heard(generation, min(start_ms + elapsed_ms, reached_ms))

    def _mark(self, generation: int, *, is_end: bool = False) -> str:
        position_ms = int(self._sent_ms)
        self._unmarked_ms = 0.0
        name = f"{generation}:{position_ms}:end" if is_end else f"{generation}:{position_ms}"
        self._pending.append(_Mark(name, generation, position_ms, is_end))
        return name


@dataclass(frozen=True, slots=True)
class _Mark:
    name: str
    generation: int
    position_ms: int
    is_end: bool
