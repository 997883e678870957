"""The vendor's items on their way to the caller: the reply of each, and how much of it was played. Sans-IO."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from voice_gateway.agent.base import PlaybackFinished

_MOST_KEPT_BYTES = 12_000_000
"""Audio kept to be said again to a caller who lost the connection: four minutes of PCM16 at 24 kHz."""


@dataclass(slots=True)
class _Part:
    item_id: str
    byte_count: int = 0


@dataclass(slots=True)
class SpokenReply:
    """A `Reply` that was not played to its end: items of the vendor's, usually one, and their audio."""

    text: str
    parts: list[_Part] = field(default_factory=list)
    audio: bytearray = field(default_factory=bytearray)
    is_whole: bool = True
    """Whether `audio` is all of it, and was not dropped for its size."""


@dataclass(frozen=True, slots=True)
class ItemCut:
    """An item that was cut off after `played_ms`, which is never more than was made of it."""

    item_id: str
    played_ms: int


class SpokenItems:
    """Follows the replies in the order in which they were emitted."""

    def __init__(self, bytes_per_ms: float) -> None:
        self._bytes_per_ms = bytes_per_ms
        self._replies: deque[SpokenReply] = deque()

    @property
    def is_outstanding(self) -> bool:
        """Whether a reply was neither played to its end nor cut off."""
        return bool(self._replies)

    def begin(self, item_id: str, text: str) -> None:
        """A `Reply` was emitted for this item."""
        self._replies.append(SpokenReply(text, [_Part(item_id)]))

    def reword(self, text: str) -> bool:
        """The newest reply's text is now this; return whether it was another one."""
        if not self._replies or self._replies[-1].text == text:
            return False
        self._replies[-1].text = text
        return True

    def add(self, audio: bytes) -> None:
        """`ReplyAudio` of the newest reply was emitted."""
        reply = self._replies[-1]
        reply.parts[-1].byte_count += len(audio)
        if reply.is_whole:
            reply.audio += audio
            if sum(len(each.audio) for each in self._replies) > _MOST_KEPT_BYTES:
                self._replies[0].audio.clear()
                self._replies[0].is_whole = False

    def again(self, text: str) -> bytes | None:
        """Join what is outstanding to one reply, and return its audio so far; `None` where it is not `text`."""
        replies = list(self._replies)
        self._replies.clear()
        if not replies or " ".join(each.text for each in replies) != text or not all(each.is_whole for each in replies):
            return None
        joined = SpokenReply(text)
        for reply in replies:
            joined.parts += reply.parts
            joined.audio += reply.audio
        self._replies.append(joined)
        return bytes(joined.audio)

    def finished(self, playback: PlaybackFinished) -> list[ItemCut]:
        """The oldest reply was played: return the items that were cut off, those that were not begun included."""
        if not self._replies:
            return []
        reply = self._replies.popleft()
        cuts = []
        left_bytes = playback.played_ms * self._bytes_per_ms
        for part in reply.parts:
            if playback.is_interrupted and left_bytes < part.byte_count:
                cuts.append(ItemCut(part.item_id, int(max(0.0, left_bytes) / self._bytes_per_ms)))
            left_bytes -= part.byte_count
        return cuts
