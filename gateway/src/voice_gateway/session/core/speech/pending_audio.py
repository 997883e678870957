"""An utterance's audio that waits to be encoded, as the agent gave it. Sans-IO."""

from __future__ import annotations

from collections import deque


class PendingAudio:
    """A queue of bytes. No piece is copied before its time: a whole answer of ten seconds is a megabyte at 48 kHz."""

    __slots__ = ("_at", "_byte_count", "_pieces")

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._at = 0
        """How much of the first piece was taken."""
        self._byte_count = 0

    def __len__(self) -> int:
        return self._byte_count

    def append(self, audio: bytes) -> None:
        """Add audio behind all that waits."""
        if audio:
            self._pieces.append(bytes(audio))  # one that the agent might change is copied
            self._byte_count += len(audio)

    def take(self, byte_count: int) -> bytes:
        """Remove and return the next bytes, or all there are if those are fewer."""
        wanted = min(byte_count, self._byte_count)
        self._byte_count -= wanted
        pieces = self._pieces
        if pieces and not self._at and len(pieces[0]) == wanted:  # as it was given, by an agent that speaks as it makes
            return pieces.popleft()
        parts: list[bytes] = []
        while wanted:
            piece = pieces[0]
            part = piece[self._at : self._at + wanted]
            parts.append(part)
            wanted -= len(part)
            self._at += len(part)
            if self._at == len(piece):
                pieces.popleft()
                self._at = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)
