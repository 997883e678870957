"""Failures and updates, session by session: who reconnects when, which worker gets it, and how long that takes.

Time goes in steps. Each attempt takes its place in the queue of handshakes of the worker that the real table names for
a random 4-tuple; the worker works it off with what its live sessions leave of its core. A client gives an attempt up
after a while that grows by 1.3 each time, and tries again from another port at once
(`voice_client/transport/redial.py`); the worker does the work of an attempt that was given up all the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.scale.model import hashing
from bench.scale.model.worker import WorkerModel

STEP_S: Final = 0.02
_SHORTEST_ATTEMPT_S, _LONGEST_ATTEMPT_S, _GROWTH = 0.2, 4.0, 1.3
_PROMPT_ATTEMPTS: Final = 8
_PAUSE_S: Final = 1.0
"""After prompt attempts the client waits 0.05 s, doubled up to 2 s; this stands for it."""
_JITTER_S: Final = 0.15
"""The caller's next datagram, which is the first not to be acknowledged, and the 0.05 s grid of the client's watch."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Sites with the same number of workers and, on average, of sessions."""

    sessions: int
    sites: int
    workers_per_site: int

    @property
    def workers(self) -> int:
        return self.sites * self.workers_per_site

    @property
    def per_worker(self) -> float:
        return self.sessions / self.workers

    def tables(self) -> NDArray[np.int32]:
        """For each site the real table, of workers numbered through all sites: (sites, slots)."""
        size = self.workers_per_site
        return np.stack([hashing.table(hashing.names_of(size, site)) + site * size for site in range(self.sites)])

    def placed(self, tables: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.int32]:
        """The worker of each session."""
        site = rng.integers(0, self.sites, self.sessions)
        return np.asarray(tables[site, rng.integers(0, tables.shape[1], self.sessions)])


@dataclass(frozen=True, slots=True)
class Storm:
    """What became of the sessions of the workers that were lost.

    `series` has, each second, the attempts, the sessions that came back, all handshakes made, and the sessions that
    still wait. Times are from the failure to the session's return. `use_after` is the use of a core when all is over,
    mean and most; above 1 that worker cannot keep up with its own media. `late_in_storm_s` is how long a turn of the
    event loop takes at the median worker when handshakes wait at most workers; `None` where media alone fills its core.
    """

    what: str
    lost_sessions: int
    returned: int
    given_up: int
    attempts: int
    wasted_handshakes: int
    peak_handshakes_per_s: int
    median_s: float
    p99_s: float
    longest_s: float
    use_before: float
    use_after: float
    most_use_after: float
    overloaded_share: float
    late_in_storm_s: float | None
    series: tuple[tuple[int, int, int, int], ...]


class HandshakeQueues:
    """Of each worker the handshakes that wait, first come, first served, and at most `places` of them.

    With all places taken a newcomer takes that of the oldest one, on which no work is spent any more.
    """

    def __init__(self, workers: int, places: int) -> None:
        self._joined = np.zeros(workers)
        self._served = np.zeros(workers)
        self._places = places
        self.work = 0.0
        """Handshakes made, wasted ones included."""

    def join(self, workers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Put one handshake into the queue of each of these workers; return the places, counted from the beginning."""
        order = np.argsort(workers, kind="stable")
        ordered = workers[order]
        first = np.searchsorted(ordered, ordered, side="left")
        places = np.empty(len(workers))
        places[order] = self._joined[ordered] + np.arange(len(ordered)) - first + 1
        self._joined += np.bincount(workers, minlength=len(self._joined))
        return places

    def serve(self, handshakes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Make up to so many handshakes at each worker; return beyond which place and up to which they are made."""
        begin = np.maximum(self._served, self._joined - self._places)
        end = np.minimum(begin + handshakes, self._joined)
        self.work += float((end - begin).sum())
        self._served = end
        return np.floor(begin), np.floor(end + 1e-9)

    @property
    def waiting(self) -> NDArray[np.float64]:
        """Of each worker how many wait."""
        return np.asarray(self._joined - self._served)


class Redialers:
    """Callers without a connection: when each makes its next attempt, and where its last one waits."""

    def __init__(self, count: int, detect_s: float, round_trip_s: float, rng: np.random.Generator) -> None:
        self.returned_at = np.full(count, np.nan)
        self.open = np.arange(count)
        self._due = detect_s + rng.uniform(0, _JITTER_S, count)
        self._tries = np.zeros(count, np.int64)
        self._gives_up_at = np.full(count, np.inf)
        self._target = np.full(count, -1, np.int64)
        self._place = np.zeros(count)
        self._shortest_s = max(_SHORTEST_ATTEMPT_S, 3 * round_trip_s)
        self._set_up_s = 2 * round_trip_s
        self._rng = rng

    def begin(self, now: float) -> NDArray[np.int64]:
        """Return who begins an attempt now, and give their earlier ones up."""
        begins = self.open[self._due[self.open] <= now]
        attempt_s = np.minimum(self._shortest_s * _GROWTH ** self._tries[begins], _LONGEST_ATTEMPT_S)
        self._gives_up_at[begins] = now + attempt_s
        self._tries[begins] += 1
        pauses = self._tries[begins] >= _PROMPT_ATTEMPTS
        pause_s = np.where(pauses, _PAUSE_S * self._rng.uniform(0.5, 1.5, len(begins)), 0.0)
        self._due[begins] = now + attempt_s + pause_s
        self._target[begins] = -1
        return begins

    def wait_at(self, callers: NDArray[np.int64], workers: NDArray[np.int64], queues: HandshakeQueues) -> None:
        """Let the attempts of these callers wait at these workers."""
        self._target[callers] = workers
        self._place[callers] = queues.join(workers)

    def connect(self, now: float, after: NDArray[np.float64], until: NDArray[np.float64]) -> NDArray[np.int64]:
        """Handshakes with places beyond `after` and up to `until` are made: return the workers that got a caller."""
        waiting = self.open[self._target[self.open] >= 0]
        target, place = self._target[waiting], self._place[waiting]
        is_made = (place > after[target]) & (place <= until[target]) & (now <= self._gives_up_at[waiting])
        back = waiting[is_made]
        self.returned_at[back] = now + self._set_up_s
        self.open = self.open[np.isnan(self.returned_at[self.open])]
        return np.asarray(self._target[back])


def fail(
    what: str,
    installation: Installation,
    worker: WorkerModel,
    failure: dict[str, Any],
    dead: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    reroute_s: float,
    detect_s: float,
    dead_sites: Sequence[int] = (),
    horizon_s: float = 70.0,
) -> Storm:
    """Lose the workers `dead` at once; until `reroute_s` the network, or the table, still names them."""
    tables = installation.tables()
    home = installation.placed(tables, rng)
    live = np.bincount(home, minlength=installation.workers).astype(np.float64)
    is_dead = np.zeros(installation.workers, bool)
    is_dead[dead] = True
    count = int(live[is_dead].sum())
    live[is_dead] = 0
    after_it = _rebuilt(installation, is_dead, tables, dead_sites)
    sites = np.array([site for site in range(installation.sites) if site not in dead_sites])
    callers = Redialers(count, detect_s, failure["round_trip_s"], rng)
    queues = HandshakeQueues(installation.workers, failure["max_half_open"])
    series = np.zeros((int(horizon_s), 4), np.int64)
    most_busy, late_s = 0, 0.0
    for step in range(int(horizon_s / STEP_S)):
        now = step * STEP_S
        row = series[int(now)]
        begins = callers.begin(now)
        if len(begins):
            row[0] += len(begins)
            slots = rng.integers(0, tables.shape[1], len(begins))
            if now >= reroute_s:
                asked = after_it[rng.choice(sites, len(begins)), slots]
            elif dead_sites:
                asked = tables[np.full(len(begins), dead_sites[0]), slots]
            else:
                asked = tables[rng.integers(0, installation.sites, len(begins)), slots]
            is_reached = ~is_dead[asked]
            callers.wait_at(begins[is_reached], asked[is_reached].astype(np.int64), queues)
        rates = worker.handshakes_per_s(live, failure["least_handshake_share"])
        before = queues.work
        got = callers.connect(now, *queues.serve(np.where(is_dead, 0.0, rates * STEP_S)))
        live += np.bincount(got, minlength=installation.workers)
        busy = queues.waiting >= 1
        if busy.sum() > most_busy:
            most_busy = int(busy.sum())
            late_s = worker.storm_turn_s(float(np.median(live[busy])))
        row += np.array([0, len(got), round(queues.work - before), 0])
        row[3] = len(callers.open)
        if not len(callers.open):
            break
    returned_at = callers.returned_at[~np.isnan(callers.returned_at)]
    median_s, p99_s, longest_s = np.percentile(returned_at, [50, 99, 100]) if len(returned_at) else np.full(3, np.inf)
    use = worker.use(live[~is_dead])
    return Storm(
        what=what,
        lost_sessions=count,
        returned=len(returned_at),
        given_up=count - len(returned_at),
        attempts=int(series[:, 0].sum()),
        wasted_handshakes=max(0, round(queues.work) - len(returned_at)),
        peak_handshakes_per_s=int(series[:, 2].max()),
        median_s=float(median_s),
        p99_s=float(p99_s),
        longest_s=float(longest_s),
        use_before=float(worker.use(installation.per_worker)),
        use_after=float(use.mean()),
        most_use_after=float(use.max()),
        overloaded_share=float(np.mean(use >= 1)),
        late_in_storm_s=late_s if math.isfinite(late_s) else None,
        series=tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in series),
    )


def _rebuilt(
    installation: Installation, is_dead: NDArray[np.bool_], tables: NDArray[np.int32], dead_sites: Sequence[int]
) -> NDArray[np.int32]:
    """The tables once health checks have taken the dead workers out."""
    size, rebuilt = installation.workers_per_site, tables.copy()
    for site in range(installation.sites):
        numbers = np.arange(site * size, (site + 1) * size)
        if site in dead_sites or not is_dead[numbers].any():
            continue
        alive = numbers[~is_dead[numbers]]
        names = hashing.names_of(size, site)
        rebuilt[site] = alive[hashing.table([names[number - site * size] for number in alive])]
    return rebuilt


@dataclass(frozen=True, slots=True)
class Update:
    """A rolling update of one site: moves by sessions, and of the call that moved most; sessions and use of workers.

    `after_least` and `after_most` are the sessions of the emptiest and the fullest worker when it is over, by the mean.
    `series` has, for each batch, the mean and the most sessions of the workers that serve.
    """

    batch_share: float
    pause_s: float
    seconds: float
    moves_mean: float
    moves_most: int
    handshakes_per_s: float
    most_sessions: int
    mean_use: float
    most_use: float
    after_least: float
    after_most: float
    series: tuple[tuple[float, float, int], ...]


def update(
    installation: Installation,
    worker: WorkerModel,
    settings: dict[str, Any],
    call_s: float,
    rng: np.random.Generator,
    *,
    batch_share: float,
    pause_s: float,
) -> Update:
    """Drain the workers of a site batch by batch, `pause_s` after one another; each move is one handshake.

    Calls end and begin meanwhile: that alone evens out what moves have made uneven, as the table knows no loads.
    """
    size = installation.workers_per_site
    sessions = round(installation.per_worker * size)
    names = np.array(hashing.names_of(size))
    full = hashing.table(list(names))
    at = full[rng.integers(0, len(full), sessions)].astype(np.int64)
    moves = np.zeros(sessions, np.int64)
    batches = np.array_split(rng.permutation(size), max(1, round(1 / batch_share)))
    elapsed_s, handshakes, series = 0.0, 0, []
    most = 0
    spread_s = settings["drain_timeout_s"] / 4
    for batch in batches:
        draining = np.zeros(size, bool)
        draining[batch] = True
        active = np.flatnonzero(~draining)
        table = active[hashing.table(list(names[active]))] if len(active) else full
        leaves = np.flatnonzero(draining[at])
        wait_s = np.minimum(rng.exponential(settings["quiet_s"], len(leaves)), settings["drain_timeout_s"] / 2)
        batch_s = float(np.max(rng.uniform(0, spread_s, len(leaves)) + wait_s, initial=0.0)) + settings["restart_s"]
        at[leaves] = table[rng.integers(0, len(table), len(leaves))]
        moves[leaves] += 1
        _renew(at, moves, table, batch_s / call_s, rng)
        handshakes += len(leaves)
        elapsed_s += batch_s
        counts = np.bincount(at, minlength=size)[active]
        most = max(most, int(counts.max()))
        _renew(at, moves, full, pause_s / call_s, rng)
        elapsed_s += pause_s
        series.append((elapsed_s, float(counts.mean()), int(counts.max())))
    counts = np.bincount(at, minlength=size)
    mean_serving = max(each[1] for each in series)
    return Update(
        batch_share, pause_s, elapsed_s, handshakes / sessions, int(moves.max()), handshakes / elapsed_s, most,
        float(worker.use(mean_serving)), float(worker.use(most)), float(counts.min() / counts.mean()),
        float(counts.max() / counts.mean()), tuple(series),
    )  # fmt: skip


def _renew(
    at: NDArray[np.int64],
    moves: NDArray[np.int64],
    table: NDArray[np.signedinteger],
    calls: float,
    rng: np.random.Generator,
) -> None:
    """Let so many mean call lengths pass: calls that end are followed by as many new ones, placed by `table`."""
    ended = rng.random(len(at)) < 1 - np.exp(-calls)
    at[ended] = table[rng.integers(0, len(table), int(ended.sum()))]
    moves[ended] = 0
