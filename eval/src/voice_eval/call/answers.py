"""Which sound of a track that never ends belongs to answers: WebRTC sends silence between them, too. Sans-IO."""

from __future__ import annotations

from typing import Final

import numpy as np

_PAUSE_S: Final = 0.7
"""Silence up to this long is a pause within an answer."""
_LOUD: Final = 60


class AnswersOfTrack:
    """Give each piece of PCM16 at `rate_hz` to `includes`, in order."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._quiet_s = _PAUSE_S

    def includes(self, pcm: bytes) -> bool:
        """Whether this piece is sound, or a pause within an answer."""
        samples = np.frombuffer(pcm, "<i2").astype(np.int32)
        is_loud = int(np.abs(samples).max(initial=0)) > _LOUD
        self._quiet_s = 0.0 if is_loud else self._quiet_s + len(samples) / self._rate_hz
        return self._quiet_s < _PAUSE_S
