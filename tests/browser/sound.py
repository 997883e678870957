"""What left for the loudspeaker, and how two recordings of one answer differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

LOUD = 200
"""Of 32,767: above the noise of a codec, below speech."""
BLOCK_S = 0.02


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples from `first_s` of the audio clock on."""

    first_s: float
    rate_hz: int
    samples: np.ndarray[Any, np.dtype[np.int16]]

    @property
    def loud_s(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """When it is loud, on the audio clock."""
        return np.flatnonzero(np.abs(self.samples.astype(np.int32)) > LOUD) / self.rate_hz + self.first_s


def missing_s(reference: Sound, other: Sound) -> float:
    """How much of the reference is not in the other recording, in seconds: silent, late or something else there.

    Both are laid over each other where they begin; from there on every block has to match.
    """
    assert reference.rate_hz == other.rate_hz
    wanted, got = trimmed(reference), trimmed(other)
    shift = best_shift(wanted, got, reference.rate_hz // 10)
    got = np.concatenate((np.zeros(max(0, -shift)), got[max(0, shift) :], np.zeros(len(wanted))))[: len(wanted)]
    size = round(BLOCK_S * reference.rate_hz)
    count = len(wanted) // size
    wanted, got = (each[: count * size].reshape(count, size) for each in (wanted, got))
    difference = np.sqrt(((wanted - got) ** 2).mean(axis=1))
    loudness = np.sqrt((wanted**2).mean(axis=1))
    return float(((difference > 0.5 * loudness) & (loudness > LOUD)).sum() * BLOCK_S)


def trimmed(sound: Sound) -> np.ndarray[Any, np.dtype[np.float64]]:
    loud = np.flatnonzero(np.abs(sound.samples.astype(np.int32)) > LOUD)
    return sound.samples[loud[0] : loud[-1] + 1].astype(np.float64)


def best_shift(wanted: np.ndarray[Any, Any], got: np.ndarray[Any, Any], most: int) -> int:
    """By how many samples `got` begins later than `wanted`, by their first half second."""
    head = wanted[: 5 * most]
    padded = np.concatenate((np.zeros(most), got, np.zeros(6 * most)))
    return int(np.argmax(np.correlate(padded[: 7 * most], head, "valid"))) - most
