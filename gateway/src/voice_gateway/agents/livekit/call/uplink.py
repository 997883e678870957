"""Which uplink frames LiveKit is done with: they may be acknowledged. Sans-IO.

LiveKit reports no positions. What is known is when its voice activity changed and when transcripts came, each after so
many frames were read. An end of speech names the frames of the utterance; silence is released with a margin.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

_ONSET_MS: Final = 600
"""How far before LiveKit notices speech its first frame may lie: its prefix padding is 500 ms."""
_MARGIN_MS: Final = 1_000
"""Silence younger than this may turn out to be the beginning of speech."""
_TRANSCRIPT_WAIT_MS: Final = 8_000
"""Speech without a transcript for so long was noise."""
_COMMIT_WAIT_MS: Final = 30_000
"""A transcript that no turn took for so long, because the agent dropped the turn, holds nothing back any more."""
_REPORT_MS: Final = 500


@dataclass(frozen=True, slots=True)
class _Read:
    sequence: int
    until_ms: float


class Uplink:
    """Follows the frames that LiveKit has read. Sequences are -1 before the first frame."""

    def __init__(self) -> None:
        self.through = -1
        """The last frame that was acknowledged."""
        self.is_speaking = False
        self._read: deque[_Read] = deque()
        self._sequence = -1
        self._now_ms = 0.0
        self._onset = -1
        self._stopped = -1
        self._noise_after_ms: float | None = None
        self._finals: deque[tuple[str, int]] = deque()
        self._transcribed_ms = 0.0
        self._reported_ms = 0.0

    @property
    def has_transcripts(self) -> bool:
        """Whether a transcript waits for the end of its turn."""
        return bool(self._finals)

    @property
    def is_waiting(self) -> bool:
        """Whether speech has ended whose transcript may still come."""
        return self._noise_after_ms is not None

    def read(self, sequence: int, duration_ms: float) -> int | None:
        """LiveKit read a frame; return the last frame that silence releases, if that is due."""
        self._sequence = sequence
        self._now_ms += duration_ms
        self._read.append(_Read(sequence, self._now_ms))
        if self._noise_after_ms is not None and self._now_ms >= self._noise_after_ms:
            self._noise_after_ms = None
        if self._finals and self._now_ms - self._transcribed_ms >= _COMMIT_WAIT_MS:
            self._finals.clear()
        is_busy = self.is_speaking or self._finals or self._noise_after_ms is not None
        if is_busy or self._now_ms - self._reported_ms < _REPORT_MS:
            return None
        silent = self._before(self._now_ms - _MARGIN_MS)
        if silent <= self.through:
            return None
        self._reported_ms = self._now_ms
        return self._release(silent)

    def started(self) -> int:
        """LiveKit noticed speech: return the first frame that may belong to it."""
        self.is_speaking = True
        self._onset = max(self._before(self._now_ms - _ONSET_MS), self.through) + 1
        return self._onset

    def stopped(self) -> int:
        """LiveKit noticed the end of speech: return the last frame that was read."""
        if self.is_speaking:
            self.is_speaking = False
            self._stopped = self._sequence
            self._noise_after_ms = self._now_ms + _TRANSCRIPT_WAIT_MS
        return self._sequence

    def transcribed(self, text: str) -> None:
        """A final transcript came: of the speech that ended last, or of what is being said."""
        self._noise_after_ms, self._transcribed_ms = None, self._now_ms
        is_ended = not self.is_speaking and self._stopped > self.through
        self._finals.append((text, self._stopped if is_ended else self._sequence))

    def committed(self, text: str) -> int:
        """LiveKit took `text` as the user's turn: return the last frame of it."""
        through, rest = self.through, text
        while self._finals and self._finals[0][0] in rest:
            final, through = self._finals.popleft()
            rest = rest.split(final, 1)[1]
        if rest == text and self._finals:  # the agent changed the text
            through = self._finals[-1][1]
            self._finals.clear()
        if not (self._finals or self.is_speaking):
            through = max(through, self._stopped)
        return self._release(through)

    def _before(self, at_ms: float) -> int:
        """Return the last frame that ended by then and is kept, or what was released."""
        found = self.through
        for each in self._read:
            if each.until_ms > at_ms:
                break
            found = each.sequence
        return found

    def _release(self, sequence: int) -> int:
        self.through = max(self.through, sequence)
        while self._read and self._read[0].sequence <= self.through:
            self._read.popleft()
        return self.through
