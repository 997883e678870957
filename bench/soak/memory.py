"""The resident memory of processes over time, and whether it grows."""

from __future__ import annotations

import math
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_PAGE_BYTES = resource.getpagesize()
_T_95 = 2.0
"""Student's t at 95 % for the thirty degrees of freedom and more of half an hour."""


@dataclass(frozen=True, slots=True)
class Slope:
    """A line through samples: its slope in kB (10^3 bytes) a minute, and half the width of its 95 % interval."""

    kb_per_min: float
    error_kb_per_min: float
    samples: int

    def is_above(self, bound_kb_per_min: float) -> bool:
        """Whether the slope is above the bound by more than its error."""
        return self.kb_per_min - self.error_kb_per_min > bound_kb_per_min


def resident_mb(pid: int) -> float:
    """A process's resident memory in MB (10^6 bytes); raises `FileNotFoundError` once it is gone."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 1e6


def fit(minutes: Sequence[float], mb: Sequence[float]) -> Slope:
    """Fit a line by least squares; raises `ValueError` with fewer than four samples.

    Memory does not forget from one sample to the next, so that neighbours tell less than so many independent samples
    would: the standard error is widened by sqrt((1 + r) / (1 - r)), r being the correlation of neighbouring residuals.
    """
    if len(minutes) < 4:
        raise ValueError(f"a slope with its error needs four samples; there are {len(minutes)}")
    at, taken = np.asarray(minutes), np.asarray(mb) * 1000
    centred = at - at.mean()
    spread = float(centred @ centred)
    slope = float(centred @ taken) / spread
    residuals = taken - taken.mean() - slope * centred
    total = float(residuals @ residuals)
    error = math.sqrt(total / (len(at) - 2) / spread)
    neighbours = float(residuals[1:] @ residuals[:-1]) / total if total else 0.0
    neighbours = min(max(neighbours, 0.0), 0.95)
    return Slope(slope, _T_95 * error * math.sqrt((1 + neighbours) / (1 - neighbours)), len(at))
