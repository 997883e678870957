"""What the vendor is to do once it is free. Sans-IO."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(slots=True)
class Wanted:
    """Say or read `text`, or answer where there is none.

    What `is_read` the caller typed, or pressed (`is_digit`). `made_bytes` of its audio went out; `skip_bytes` of them
    when a session was lost, and are not said again.
    """

    text: str | None = None
    is_read: bool = False
    is_digit: bool = False
    is_in_history: bool = False
    made_bytes: int = 0
    skip_bytes: int = 0


class WantedQueue:
    """In the order in which it is wanted; `saying` is what the vendor says word for word now."""

    def __init__(self) -> None:
        self._queue: deque[Wanted] = deque()
        self.saying: Wanted | None = None

    def __bool__(self) -> bool:
        return bool(self._queue)

    @property
    def read_count(self) -> int:
        """How many typed turns and keys wait."""
        return sum(each.is_read for each in self._queue)

    @property
    def has_unanswered(self) -> bool:
        """Whether the vendor was not yet asked to answer the newest turn."""
        return any(each.is_read or each.text is None for each in self._queue)

    def add(self, wanted: Wanted) -> None:
        self._queue.append(wanted)

    def add_first(self, wanted: Wanted) -> None:
        self._queue.appendleft(wanted)

    def next(self) -> Wanted:
        """Take the oldest."""
        return self._queue.popleft()

    def caller_started(self) -> None:
        """The caller speaks: only what the caller typed is wanted still."""
        self._queue = deque(each for each in self._queue if each.is_read)
        self.saying = None

    def session_opened(self) -> None:
        """The new session is given typed turns with its history: none is read to it again, and one answer is wanted."""
        if any(each.is_read for each in self._queue):
            self._queue = deque(each for each in self._queue if each.text is not None and not each.is_read)
            self._queue.append(Wanted())

    def session_lost(self, *, is_turn_pending: bool) -> None:
        """Begin again what was being said, and let the next session answer a turn that is pending."""
        saying, self.saying = self.saying, None
        if saying is not None:
            saying.skip_bytes = saying.made_bytes
            self._queue.appendleft(saying)
        if is_turn_pending and not self.has_unanswered:
            self._queue.append(Wanted())
