"""The caller's audio that may be needed again, and where each frame lies in the vendor's session. Sans-IO."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from voice_gateway.agent.base import UserAudio


@dataclass(slots=True)
class _Frame:
    sequence: int
    audio: bytes
    start_ms: float
    end_ms: float


class UplinkAudio:
    """Frames without effect so far, oldest first; positions count from the first frame that a session was given."""

    def __init__(self, bytes_per_ms: float, most_s: float) -> None:
        self._bytes_per_ms = bytes_per_ms
        self._most_ms = most_s * 1000
        self._frames: deque[_Frame] = deque()
        self._newest = -1
        self.released = -1
        """The newest frame that was released."""
        self.position_ms = 0.0
        """How much audio the session was given."""

    @property
    def is_full(self) -> bool:
        """Whether more waits than is kept for a session that does not come back."""
        return bool(self._frames) and self._frames[-1].end_ms - self._frames[0].start_ms > self._most_ms

    @property
    def newest(self) -> int:
        """The newest frame, -1 before the first one."""
        return self._newest

    def push(self, frame: UserAudio) -> None:
        """Take the next frame, as given to the session."""
        self._newest = frame.sequence
        self._append(frame.sequence, frame.pcm)

    def pad(self, audio: bytes) -> None:
        """The session was given this besides, behind the newest frame."""
        self._append(self._newest, audio)

    def restart(self) -> Iterator[bytes]:
        """Begin a new session: yield what is to be given to it first."""
        frames, self._frames, self.position_ms = self._frames, deque(), 0.0
        for frame in frames:
            self._append(frame.sequence, frame.audio)
            yield frame.audio

    def first_at(self, ms: float | None) -> int:
        """Return the frame in which that position lies, for the beginning of speech; `None` is now."""
        for frame in self._frames:
            if ms is not None and frame.end_ms > ms:
                return frame.sequence
        return max(self._newest, 0)

    def last_at(self, ms: float | None) -> int:
        """Return the last frame that begins before that position; -1 where there is none, the newest for `None`."""
        if ms is None:
            return self._newest
        last = self.released
        for frame in self._frames:
            if frame.start_ms >= ms:
                break
            last = frame.sequence
        return last

    def release(self, sequence: int) -> None:
        """Frames up to there are not needed again."""
        self.released = max(self.released, sequence)
        while self._frames and self._frames[0].sequence <= sequence:
            self._frames.popleft()

    def _append(self, sequence: int, audio: bytes) -> None:
        start_ms = self.position_ms
        self.position_ms += len(audio) / self._bytes_per_ms
        self._frames.append(_Frame(sequence, audio, start_ms, self.position_ms))
