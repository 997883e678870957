"""Hot spots: how many sessions the fullest worker has, by the way new sessions are placed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.scale.model import hashing

Placer = Callable[[int, int, np.random.Generator], NDArray[np.int64]]
"""Takes sessions, workers and randomness, and returns the sessions of each worker."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Sessions per worker; `over` is the share of workers with more than `limit`."""

    way: str
    sessions: int
    workers: int
    mean: float
    deviation: float
    p99: float
    most: int
    over: float


def spread(way: str, sessions: int, workers: int, limit: float, rng: np.random.Generator) -> Spread:
    """Place sessions on workers in one of `WAYS`."""
    counts = WAYS[way](sessions, workers, rng)
    return Spread(
        way, sessions, workers, sessions / workers, float(counts.std()), float(np.percentile(counts, 99)),
        int(counts.max()), float(np.mean(counts > limit)),
    )  # fmt: skip


def by_table(sessions: int, workers: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """As the load balancer does: the hash of a 4-tuple chooses a slot of the real table."""
    table = hashing.table(hashing.names_of(workers))
    return np.bincount(table[rng.integers(0, len(table), sessions)], minlength=workers)


def at_random(sessions: int, workers: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Each worker with the same probability: what a table without unevenness would do."""
    return np.bincount(rng.integers(0, workers, sessions), minlength=workers)


def of_two(sessions: int, workers: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The less loaded of two random workers, whose loads are known late: in rounds of a tenth of the workers."""
    counts = np.zeros(workers, np.int64)
    step = max(1, workers // 10)
    for begin in range(0, sessions, step):
        pair = rng.integers(0, workers, (2, min(step, sessions - begin)))
        chosen = np.where(counts[pair[0]] <= counts[pair[1]], pair[0], pair[1])
        counts += np.bincount(chosen, minlength=workers)
    return counts


def least_loaded(sessions: int, workers: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The worker with the fewest: as even as can be, but every load balancer must know all loads at once."""
    counts = np.full(workers, sessions // workers, np.int64)
    counts[rng.permutation(workers)[: sessions % workers]] += 1
    return counts


WAYS: Final[dict[str, Placer]] = {
    "Maglev table": by_table,
    "uniform": at_random,
    "less loaded of two": of_two,
    "least loaded": least_loaded,
}
