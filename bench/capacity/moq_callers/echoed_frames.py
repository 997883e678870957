"""Which frames a server that decodes and encodes has returned, by the position in its audio. Sans-IO.

Such a server numbers its packets anew. What it keeps is the number of samples: where voice begins in its audio, there
begins the first packet of a spurt, and each 20 ms further is another packet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

FRAME_MS: Final = 20.0
BLOCK_MS: Final = 5.0
"""`received` gets the level of each so much."""
LOOKAHEAD_MS: Final = 6.5
"""libopus, for speech: so far behind its packet's beginning does the sound of it begin (RFC 7845 section 4.2)."""
VOICE_LEVEL: Final = 100.0
"""RMS of PCM16: the callers' voice has 2,000, what is left of it in a pause under 60."""
QUIET_MS: Final = 200.0
"""So much silence, in the echoed audio, comes before a spurt; a pause of 3 s that DTX leaves 30 packets of has 600."""


class EchoedFrames:
    """The frames of one call, from when each was due until all its samples are back."""

    def __init__(self) -> None:
        self._spurts: deque[list[float]] = deque()
        self._has_ended = True
        self._spurt: list[float] = []
        self._begins_ms = 0.0
        self._returned = 0
        self._voice_until_ms = 0.0  # the spurt at its beginning does not count: the server may have begun amid it

    def sent(self, due: float, *, is_speech: bool) -> None:
        """A frame was due at `due`, in seconds; those of speech follow each other without a gap."""
        if is_speech:
            if self._has_ended:
                self._spurts.append([])
            self._spurts[-1].append(due)
        self._has_ended = not is_speech

    def received(self, at: float, position_ms: float, levels: Sequence[float]) -> list[float]:
        """A packet came at `at`, in seconds: its place in the audio, and its RMS by `BLOCK_MS`.

        Returns by how many ms each frame is late that this packet completes.
        """
        for index, level in enumerate(levels):
            if level >= VOICE_LEVEL:
                voice_ms = position_ms + index * BLOCK_MS
                if voice_ms - self._voice_until_ms >= QUIET_MS:
                    self._begin(at, voice_ms)
                self._voice_until_ms = voice_ms + BLOCK_MS
        complete = int((position_ms + FRAME_MS - self._begins_ms) // FRAME_MS)
        late = [1000 * (at - due) for due in self._spurt[self._returned : complete]]
        self._returned += len(late)
        return late

    def _begin(self, at: float, voice_ms: float) -> None:
        """The latest spurt that had begun at `at` is heard."""
        while len(self._spurts) > 1 and self._spurts[1][0] <= at:
            self._spurts.popleft()
        self._spurt = self._spurts[0] if self._spurts else []
        self._begins_ms = voice_ms - LOOKAHEAD_MS
        self._returned = 0
