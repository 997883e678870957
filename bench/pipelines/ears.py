"""What a caller hears: sound with the time at which it is played."""

from __future__ import annotations

import asyncio
from typing import Final

import numpy as np

from bench.pipelines.words import recognised

RATE_HZ: Final = 24_000
_AUDIBLE: Final = 500


class Ears:
    """A sink of `voice_client`: notes what is played, and when, on the event loop's clock."""

    def __init__(self) -> None:
        self.played: list[tuple[float, bytes]] = []

    def play(self, at_s: float, pcm: bytes) -> None:
        """Take PCM16 at 24 kHz that is due at `at_s`."""
        self.played.append((at_s, pcm))

    def flush(self) -> None:
        """Leave out what is due later."""
        now = asyncio.get_running_loop().time()
        self.played = [(at_s, pcm[: 2 * max(0, round((now - at_s) * RATE_HZ))]) for at_s, pcm in self.played]

    def close(self) -> None:
        """Nothing is open."""

    def audible(self, since: float) -> list[tuple[float, float]]:
        """Return when there was sound since then: beginning and end of pieces of up to 10 ms, by their time."""
        found = []
        for at_s, pcm in self.played:
            samples = np.abs(np.frombuffer(pcm, "<i2").astype(np.int32))
            for start in range(0, len(samples), RATE_HZ // 100):
                piece = samples[start : start + RATE_HZ // 100]
                begin = at_s + start / RATE_HZ
                if begin >= since and piece.max(initial=0) > _AUDIBLE:
                    found.append((begin, begin + len(piece) / RATE_HZ))
        return sorted(found)

    def words(self, since: float, word_s: float) -> list[str]:
        """Return the words that were heard since then."""
        pcm = b"".join(pcm for at_s, pcm in sorted(self.played, key=lambda each: each[0]) if at_s >= since)
        return recognised(pcm, RATE_HZ, word_s)


class Loudspeaker(Ears):
    """Plays all audio in order, as soon as it comes: what a caller without a jitter buffer does."""

    def __init__(self) -> None:
        super().__init__()
        self._free_at = 0.0

    def push(self, pcm: bytes) -> None:
        """Queue audio."""
        at_s = max(asyncio.get_running_loop().time(), self._free_at)
        self.play(at_s, pcm)
        self._free_at = at_s + len(pcm) / 2 / RATE_HZ

    def flush(self) -> None:
        """Drop what is queued."""
        super().flush()
        self._free_at = 0.0
