"""Where a caller who was cut off begins again, sans-IO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from voicelink.audio.codecs.g711 import pcmu_decode
from voicelink.audio.frames import frame_samples

PAUSE_MS: Final = 800
"""So long a silence parts two sentences."""
SETTLED_MS: Final = 1_500
"""So long after its end a sentence counts as understood; a caller who was cut off earlier says it again."""
_LEAD_MS: Final = 200
_BYTES_PER_MS: Final = 8
_FRAME_BYTES: Final = frame_samples(8_000)
_LOUDEST_SILENCE: Final = 500


@dataclass(frozen=True, slots=True)
class Sentence:
    """A stretch of speech between two pauses, in bytes of mu-law at 8 kHz."""

    start: int
    end: int


def sentences(speech: bytes) -> tuple[Sentence, ...]:
    """Return the sentences of mu-law at 8 kHz, in order."""
    loud = np.flatnonzero(np.abs(np.frombuffer(pcmu_decode(speech), "<i2").astype(np.int32)) > _LOUDEST_SILENCE)
    if not len(loud):
        return ()
    breaks = np.flatnonzero(np.diff(loud) > PAUSE_MS * _BYTES_PER_MS)
    starts, ends = loud[np.r_[0, breaks + 1]], loud[np.r_[breaks, len(loud) - 1]]
    return tuple(Sentence(int(start), int(end) + 1) for start, end in zip(starts, ends, strict=True))


def begin_again(said: tuple[Sentence, ...], position: int) -> int:
    """Return the byte from which a caller goes on whose line broke at `position`: the start of a frame."""
    for each in said:
        if each.end + SETTLED_MS * _BYTES_PER_MS > position:
            start = min(position, max(0, each.start - _LEAD_MS * _BYTES_PER_MS))
            return start // _FRAME_BYTES * _FRAME_BYTES
    return position // _FRAME_BYTES * _FRAME_BYTES
