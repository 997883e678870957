"""The caller's playback as one timeline: what was made, what was played, and what is due when it was. Sans-IO."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class SentReply:
    """A reply that was emitted and is not finished; `audio` is kept, to be emitted again after a resume."""

    text: str
    start_s: float
    audio: bytearray = field(default_factory=bytearray)
    is_ended: bool = False


@dataclass(frozen=True, slots=True)
class _Due(Generic[T]):
    at_s: float
    item: T


class PlaybackTimeline(Generic[T]):
    """Positions in seconds of audio since the call began; `bytes_per_s` is that of the replies' PCM.

    `due` hands out items, of a kind of the caller's choice, in the order in which they were scheduled, each once the
    playback has reached its position.
    """

    def __init__(self, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._replies: deque[SentReply] = deque()
        self._scheduled: deque[_Due[T]] = deque()
        self.made_s = 0.0
        """Where the audio made so far ends."""
        self.played_s = 0.0
        """How far the caller's reports say that it was played."""
        self.cut_text: str | None = None
        """What was played of the reply that was cut off last, where the session has said so."""

    @property
    def is_outstanding(self) -> bool:
        """Whether a reply was neither played to its end nor interrupted."""
        return bool(self._replies)

    @property
    def is_making(self) -> bool:
        """Whether a reply has begun and not ended."""
        return bool(self._replies) and not self._replies[-1].is_ended

    def begin(self, text: str) -> None:
        """A reply begins where all audio so far ends."""
        self.end()
        self._replies.append(SentReply(text, self.made_s))

    def add(self, pcm: bytes) -> None:
        """More audio of the reply that is being made."""
        self._replies[-1].audio += pcm
        self.made_s += len(pcm) / self._bytes_per_s

    def end(self) -> bool:
        """No audio of the reply follows; return whether one was being made."""
        is_making = self.is_making
        if is_making:
            self._replies[-1].is_ended = True
        return is_making

    def schedule(self, at_s: float, item: T) -> None:
        """Hand the item out once the playback is at `at_s`, and never before those that were scheduled earlier."""
        last_s = self._scheduled[-1].at_s if self._scheduled else 0.0
        self._scheduled.append(_Due(max(at_s, last_s), item))

    @property
    def has_due(self) -> bool:
        """Whether the playback has reached a scheduled item."""
        return bool(self._scheduled) and self._scheduled[0].at_s <= self.played_s

    def due(self) -> list[T]:
        """Return the items that the playback has reached, and forget them."""
        items = []
        while self.has_due:
            items.append(self._scheduled.popleft().item)
        return items

    def played(self, played_ms: int) -> None:
        """So much of the oldest reply that is not finished was played."""
        if self._replies:
            self._reach(self._replies[0].start_s + played_ms / 1000)

    def finished(self, played_ms: int, *, is_interrupted: bool) -> SentReply | None:
        """The oldest reply was played to its end, or cut off; return it."""
        if not self._replies:
            return None
        reply = self._replies.popleft()
        if is_interrupted:
            if played_ms:  # else it had not begun: one before it was cut off, too
                self._reach(reply.start_s + played_ms / 1000)
        else:
            self._reach(self._replies[0].start_s if self._replies else self.made_s)
        return reply

    def cut(self) -> list[T]:
        """Forget all that was not played; return the items that were scheduled behind it, unplayed."""
        self._replies.clear()
        self.made_s = self.played_s
        unplayed = [each.item for each in self._scheduled]
        self._scheduled.clear()
        return unplayed

    def again(self, text: str) -> SentReply | None:
        """Return the newest replies whose texts, joined, are `text`, as one; those before them were played.

        The caller, who was away, says that all before was played. `None` where the replies are not these.
        """
        replies = list(self._replies)
        for first, reply in enumerate(replies):
            if " ".join(each.text for each in replies[first:]) == text:
                audio = bytearray().join(each.audio for each in replies[first:])
                joined = SentReply(text, reply.start_s, audio, replies[-1].is_ended)
                self._replies = deque([joined])
                self._reach(reply.start_s)
                return joined
        return None

    def _reach(self, at_s: float) -> None:
        self.played_s = max(self.played_s, min(at_s, self.made_s))
