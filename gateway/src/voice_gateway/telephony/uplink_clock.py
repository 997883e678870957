"""The media time of a call, sans-IO: vendors count milliseconds, and a little unevenly."""

from __future__ import annotations

from typing import Final

from voicelink.audio.frames import MAX_FRAME_MS
from voicelink.wire import CLOCK_HZ, AudioFrame, Codec

TOLERANCE_MS: Final = 60
"""A timestamp this far ahead of the audio received is a gap, one less far is unevenness: samples stay joined."""
BYTES_PER_MS: Final = 8
MAX_FRAME_BYTES: Final = MAX_FRAME_MS * BYTES_PER_MS
"""A frame holds at most 120 ms (PROTOCOL.md, section 3). Twilio sends 20; others with its protocol may send more."""
_TICKS_PER_MS: Final = CLOCK_HZ // 1000
_TICKS_PER_BYTE: Final = CLOCK_HZ // 8000


class UplinkClock:
    """Numbers a call's mu-law payloads without gaps, and dates them without overlap."""

    def __init__(self) -> None:
        self.next_sequence = 0
        self._next_timestamp = 0
        self._offset: int | None = None

    def frame(self, timestamp_ms: int, payload: bytes) -> AudioFrame:
        """Return the payload, untouched, as the session's next frame; the first one begins at tick 0."""
        timestamp = timestamp_ms * _TICKS_PER_MS
        if self._offset is None:
            self._offset = timestamp
        timestamp -= self._offset
        if timestamp - self._next_timestamp <= TOLERANCE_MS * _TICKS_PER_MS:
            timestamp = self._next_timestamp
        frame = AudioFrame(self.next_sequence, timestamp, Codec.PCMU, payload)
        self.next_sequence += 1
        self._next_timestamp = timestamp + len(payload) * _TICKS_PER_BYTE
        return frame
