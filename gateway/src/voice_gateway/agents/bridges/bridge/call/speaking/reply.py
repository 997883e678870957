"""The reply in progress: items of the vendor's become replies of the agent's, with their texts and audio."""

from __future__ import annotations

from collections import deque
from typing import Final

from voice_gateway.agent.base import Emit, Reply, ReplyAudio, ReplyEnded, ReplyText
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.bridges.bridge.call.speaking.spoken_items import SpokenItems
from voice_gateway.agents.bridges.bridge.call.speaking.wanted import Wanted

_MOST_CUT_ITEMS: Final = 64
_SENTENCE_ENDS: Final = (".", "?", "!")


class ReplyInProgress:
    """Emits what is said, and follows it in `spoken` until it was played."""

    def __init__(self, emit: Emit, changes: Changes, spoken: SpokenItems) -> None:
        self._emit = emit
        self._changes = changes
        self._spoken = spoken
        self._item: str | None = None
        self._texts: dict[str, str] = {}
        self._cut_items: deque[str] = deque(maxlen=_MOST_CUT_ITEMS)

    @property
    def is_open(self) -> bool:
        """Whether a reply has begun and not ended."""
        return self._item is not None

    def session_opened(self) -> None:
        """Items of the new session have names of their own."""
        self._cut_items.clear()

    def session_lost(self) -> None:
        """No more texts come of its items."""
        self._texts.clear()

    def is_cut(self, item_id: str) -> bool:
        """Whether nothing more is said of this item."""
        return item_id in self._cut_items

    def text(self, item_id: str, text: str) -> None:
        """Take the item's text so far; the session learns of whole sentences."""
        self._texts[item_id] = text
        if text.rstrip().endswith(_SENTENCE_ENDS):
            self.reword()

    def reword(self) -> None:
        """Let the session know the words of the reply; each time costs it a save, so sentence by sentence."""
        text = None if self._item is None else self._texts.get(self._item)
        if text is not None and self._spoken.reword(text):
            self._emit(ReplyText(text))

    def audio(self, item_id: str, audio: bytes, saying: Wanted | None) -> None:
        """Take more audio; what is said word for word (`saying`) goes on where an earlier session stopped."""
        if saying is not None:
            skipped = min(saying.skip_bytes, len(audio))
            saying.skip_bytes -= skipped
            audio = audio[skipped:]
            saying.made_bytes += len(audio)
            self._item = item_id if self._item is not None else None
        if self._item != item_id:
            self.end()
            text = self._texts.get(item_id, "") if saying is None else saying.text or ""
            self._item = item_id
            self._emit(Reply(text))
            self._spoken.begin(item_id, text)
        if audio:
            self._spoken.add(audio)
            self._emit(ReplyAudio(audio))

    def item_ended(self, item_id: str) -> bool:
        """All of the item came; return whether it was the reply in progress."""
        is_current = self._item == item_id
        if is_current:
            self.end()
        self._texts.pop(item_id, None)
        return is_current

    def end(self) -> None:
        """The reply is whole."""
        if self._item is not None:
            self.reword()
            self._item = None
            self._emit(ReplyEnded())
            self._changes.notify()

    def cut(self) -> None:
        """Nothing more is said of the item in progress."""
        if self._item is not None:
            self._cut_items.append(self._item)
            self._item = None
        self._changes.notify()

    def again(self, text: str) -> bool:
        """Say what is outstanding again, from what is kept; false where it is not `text`."""
        audio = self._spoken.again(text)
        if audio is None:
            return False
        self._emit(Reply(text))
        self._emit(ReplyAudio(audio))
        if self._item is None:
            self._emit(ReplyEnded())
        return True
