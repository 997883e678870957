"""How much of our audio was played to the caller, by the vendor's marks, sans-IO.

Vendors queue audio and play it in order; a mark comes back when all audio before it was played, or at once when the
queue is cleared. So a mark counts as played only while its utterance was not cleared.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

MARK_EVERY_MS: Final = 200
"""How far the marks of one utterance are apart; the first stands behind its first frame."""


@dataclass(frozen=True, slots=True)
class PlaybackPosition:
    """`position_ms` of an utterance has been played; `is_complete` once all of it has."""

    utterance_id: int
    position_ms: int
    is_complete: bool = False


class PlaybackTracker:
    """Follows the vendor's queue for one stream, by what is sent and what comes back, in order."""

    def __init__(self) -> None:
        self._sent_id: int | None = None
        self._sent_ms = 0.0
        self._unmarked_ms = 0.0
        self._pending: deque[_Mark] = deque()
        self._position: PlaybackPosition | None = None
        self._position_at = 0.0

    @property
    def has_pending(self) -> bool:
        """Whether audio or marks are queued that have not come back as played."""
        return bool(self._pending) or self._unmarked_ms > 0

    def sent(self, utterance_id: int, duration_ms: float) -> str | None:
        """Audio was sent; return the name of the mark to send behind it, if one is due."""
        is_first = utterance_id != self._sent_id
        if is_first:
            self._sent_id, self._sent_ms, self._unmarked_ms = utterance_id, 0.0, 0.0
        self._sent_ms += duration_ms
        self._unmarked_ms += duration_ms
        return self._mark(utterance_id) if is_first or self._unmarked_ms >= MARK_EVERY_MS else None

    def ended(self, utterance_id: int) -> str:
        """All audio of the utterance was sent; return the name of its last mark."""
        if utterance_id != self._sent_id:
            self._sent_id, self._sent_ms = utterance_id, 0.0
        return self._mark(utterance_id, is_end=True)

    def cleared(self) -> None:
        """The queue is to be dropped: marks that are still to come back say nothing."""
        self._pending.clear()
        self._unmarked_ms = 0.0
        self._position = None

    def returned(self, name: str, now: float) -> PlaybackPosition | None:
        """A mark came back; return the position by then, `None` if the mark is not pending."""
        if all(mark.name != name for mark in self._pending):
            return None
        while (mark := self._pending.popleft()).name != name:
            pass
        self._position = PlaybackPosition(mark.utterance_id, mark.position_ms, mark.is_end)
        self._position_at = now
        return self._position

    def position(self, now: float) -> PlaybackPosition | None:
        """The last mark that came back plus the time since, never beyond the next mark; `None` before the first."""
        if self._position is None or not self._pending:
            return self._position
        utterance_id, reached_ms = self._pending[0].utterance_id, self._pending[0].position_ms
        start_ms = self._position.position_ms if self._position.utterance_id == utterance_id else 0
        elapsed_ms = round((now - self._position_at) * 1000)
        return PlaybackPosition(utterance_id, min(start_ms + elapsed_ms, reached_ms))

    def _mark(self, utterance_id: int, *, is_end: bool = False) -> str:
        position_ms = int(self._sent_ms)
        self._unmarked_ms = 0.0
        name = f"{utterance_id}:{position_ms}:end" if is_end else f"{utterance_id}:{position_ms}"
        self._pending.append(_Mark(name, utterance_id, position_ms, is_end))
        return name


@dataclass(frozen=True, slots=True)
class _Mark:
    name: str
    utterance_id: int
    position_ms: int
    is_end: bool
