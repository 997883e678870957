"""How long an audio frame is: 20 ms, the usual packet time of Opus and of telephony, and at most 120 ms."""

from __future__ import annotations

from typing import Final

from voicelink.wire import CLOCK_HZ

FRAME_MS: Final = 20
FRAME_S: Final = FRAME_MS / 1000
FRAME_TICKS: Final = CLOCK_HZ * FRAME_MS // 1000
"""In ticks of the media clock."""
MAX_FRAME_MS: Final = 120
"""How much audio a payload may hold: as much as an Opus packet can (RFC 6716 section 3.2.5)."""


def frame_samples(rate_hz: int) -> int:
    """Return the samples in a frame of `FRAME_MS`; G.711 has one byte for each, PCM16 has two."""
    return rate_hz * FRAME_MS // 1000
