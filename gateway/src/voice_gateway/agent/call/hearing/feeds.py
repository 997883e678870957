"""What an agent may follow of a call beside the turns: frames, and who speaks."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import Final, Generic, TypeVar

from voice_gateway.agent.base import PartialTranscript, UserAudio, UserStartedSpeaking, UserStoppedSpeaking
from voice_gateway.agent.call.progress.progress import Progress
from voice_gateway.agent.call.waiting import Changes

CallEvent = UserStartedSpeaking | UserStoppedSpeaking | PartialTranscript
"""What `Call.events` yields."""

_MOST_UNREAD: Final = 3_000
"""How much a feed keeps for an agent that does not read: a minute of frames; then the oldest are dropped."""
_Item = TypeVar("_Item")


class Feed(Generic[_Item]):
    """Copies of what happens, for each iterator that the agent has opened."""

    def __init__(self, progress: Progress, changes: Changes) -> None:
        self._progress = progress
        self._changes = changes
        self._unread: list[deque[_Item]] = []

    @property
    def is_read(self) -> bool:
        """Whether the agent reads it."""
        return bool(self._unread)

    def push(self, item: _Item) -> None:
        """Give it to all who read."""
        for unread in self._unread:
            unread.append(item)
        if self._unread:
            self._changes.notify()

    def open(self) -> AsyncIterator[_Item]:
        """Return an iterator over what is pushed from now on."""
        unread: deque[_Item] = deque(maxlen=_MOST_UNREAD)
        self._unread.append(unread)
        return self._items(unread)

    async def _items(self, unread: deque[_Item]) -> AsyncIterator[_Item]:
        try:
            while True:
                await self._progress.idle(lambda: bool(unread))
                yield unread.popleft()
        finally:
            self._unread = [each for each in self._unread if each is not unread]


class Feeds:
    """What an agent may follow beside the turns."""

    def __init__(self, progress: Progress, changes: Changes) -> None:
        self.audio: Feed[UserAudio] = Feed(progress, changes)
        self.events: Feed[CallEvent] = Feed(progress, changes)
