"""Twilio's queue of audio for the caller, sans-IO: played at 8 kHz, with marks in between."""

from __future__ import annotations

from collections import deque
from typing import Final

SILENCE: Final = b"\xff"
"""A sample of 0 in mu-law."""


class Loudspeaker:
    """Queue with `media`, `mark` and `clear`; every `advance` plays a little, and all it played is in `recording`."""

    def __init__(self) -> None:
        self.played_bytes = 0
        """Bytes of speech that were played, without the silence between."""
        self.recording = bytearray()
        self._queue: deque[bytes | str] = deque()

    @property
    def is_silent(self) -> bool:
        return not self._queue

    def media(self, payload: bytes) -> None:
        if payload:
            self._queue.append(payload)

    def mark(self, name: str) -> None:
        """Queue a mark; the `advance` that plays the last byte before it returns it."""
        self._queue.append(name)

    def clear(self) -> list[str]:
        """Drop what is queued, and return the marks in it: they come back at once."""
        marks = [item for item in self._queue if isinstance(item, str)]
        self._queue.clear()
        return marks

    def advance(self, byte_count: int) -> list[str]:
        """Play so many bytes, silence where nothing is queued, and return the marks that were reached."""
        marks: list[str] = []
        missing = byte_count
        while self._queue:
            item = self._queue[0]
            if isinstance(item, str):
                marks.append(item)
            elif missing == 0:
                break
            else:
                played, rest = item[:missing], item[missing:]
                self.recording += played
                self.played_bytes += len(played)
                missing -= len(played)
                if rest:
                    self._queue[0] = rest
                    break
            self._queue.popleft()
        self.recording += SILENCE * missing
        return marks
