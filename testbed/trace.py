"""The last events of a simulation, to be read when it fails, and a digest of all of them, to tell two runs apart."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Final

LINES_KEPT: Final = 200


class Trace:
    """Counts events, keeps the last ones, and digests all."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._ring: deque[str] = deque(maxlen=LINES_KEPT)
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, elapsed_s: float, event: str, detail: str) -> None:
        """Record an event; everything that is in it is part of the digest."""
        self.counts[event] = self.counts.get(event, 0) + 1
        line = f"{elapsed_s:12.6f} {event:<10} {detail}"
        self._ring.append(line)
        self._digest.update(line.encode())

    def digest(self) -> str:
        """Equal for two runs exactly if every event of both was the same at the same instant."""
        return self._digest.hexdigest()

    def tail(self, lines: int = LINES_KEPT) -> str:
        """The last events, one a line."""
        return "\n".join(list(self._ring)[-lines:])
