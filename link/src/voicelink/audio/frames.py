"""The length of an audio frame of either side: 20 ms, the usual packet time of Opus and of telephony."""

from __future__ import annotations

from typing import Final

from voicelink.wire import CLOCK_HZ

FRAME_MS: Final = 20
FRAME_S: Final = FRAME_MS / 1000
FRAME_TICKS: Final = CLOCK_HZ * FRAME_MS // 1000
"""In ticks of the media clock."""
