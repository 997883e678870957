"""The caller's frames until the server acknowledges them: it has saved their effect. Sans-IO."""

from __future__ import annotations

from collections import deque

from voice_client.errors import UplinkFull
from voicelink.wire import CLOCK_HZ, AudioFrame, Codec


class Uplink:
    """Numbers frames from 0 without gaps, and keeps each until it is acked.

    `keep_s` is how much media time, in s, may be unacked; more raises `UplinkFull`.
    """

    def __init__(self, codec: Codec, *, keep_s: float = 120.0) -> None:
        self._codec = codec
        self._keep_s = keep_s
        self._kept: deque[AudioFrame] = deque()
        self.sent = 0
        """How many frames were numbered."""
        self.acked = 0
        """How many of them the server has acknowledged."""

    def append(self, timestamp: int, payload: bytes) -> AudioFrame:
        """Number a frame, keep it, and return it to be sent."""
        if self._kept and timestamp - self._kept[0].timestamp > self._keep_s * CLOCK_HZ:
            raise UplinkFull(
                f"the server has not acknowledged the last {self._keep_s:g} s of audio; send no faster than real time"
            )
        frame = AudioFrame(self.sent, timestamp, self._codec, payload)
        self.sent += 1
        self._kept.append(frame)
        return frame

    def acknowledge(self, sequence: int) -> bool:
        """Forget the frames up to `sequence`; `False` where the server acknowledges what was never sent."""
        if sequence >= self.sent:
            return False
        while self._kept and self._kept[0].sequence <= sequence:
            self._kept.popleft()
        self.acked = max(self.acked, sequence + 1)
        return True

    def again(self, next_sequence: int) -> list[AudioFrame] | None:
        """Every frame from `next_sequence` on; `None` where that is none of those kept, or the next."""
        if not self.acked <= next_sequence <= self.sent:
            return None
        return [frame for frame in self._kept if frame.sequence >= next_sequence]
