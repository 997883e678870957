"""The load balancer's own Maglev table at any number of backends: evenness, and whom a change of the pool moves.

Only datagrams whose connection ID names no worker go by it: the first flight of a new connection, and what is meant
for a worker that is down. All others go by their connection ID, so that a change of the table moves no live call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quiclb.codec.config import QuicLbConfig
from quiclb.codec.encoder import CidEncoder
from quiclb.routing.fallback import TABLE_SIZE, Maglev
from quiclb.routing.pool import Backend, BackendState
from quiclb.routing.router import Routable, route
from quiclb.routing.table import RoutingTable, build_table


def names_of(count: int, site: int = 0) -> list[str]:
    """Names of a site's workers, in the order of `table`'s numbers."""
    return [f"site-{site:02d}-worker-{number:05d}" for number in range(count)]


def table(names: Sequence[str], size: int = TABLE_SIZE) -> NDArray[np.int32]:
    """The real table: for each slot the index of its backend in `names`, which must be in order."""
    backends = [Backend(name, ("10.0.0.1", at + 1)) for at, name in enumerate(names)]
    return np.array(Maglev(backends, size).slots, np.int32)


@dataclass(frozen=True, slots=True)
class Evenness:
    """Slots of the backends with the fewest and the most, by the mean; `spread` is the standard deviation by it."""

    backends: int
    least: float
    most: float
    spread: float


def evenness(count: int, size: int = TABLE_SIZE) -> Evenness:
    """How even the shares of new connections are among `count` backends."""
    shares = np.bincount(table(names_of(count), size), minlength=count) / (size / count)
    return Evenness(count, float(shares.min()), float(shares.max()), float(shares.std()))


@dataclass(frozen=True, slots=True)
class Disruption:
    """A change of the pool: the share of slots that have another backend, and the least share that could have."""

    backends: int
    change: str
    slots_moved: float
    unavoidable: float

    @property
    def beside(self) -> float:
        """Slots moved from one staying backend to another, by all slots: what Maglev moves without need."""
        return self.slots_moved - self.unavoidable


def disruption(before: Sequence[str], after: Sequence[str], change: str) -> Disruption:
    """Compare the real tables of two pools, name by name."""
    everyone = sorted(set(before) | set(after))
    number = {name: at for at, name in enumerate(everyone)}
    old = np.array([number[name] for name in sorted(before)], np.int32)[table(sorted(before))]
    new = np.array([number[name] for name in sorted(after)], np.int32)[table(sorted(after))]
    left = np.isin(old, [number[name] for name in set(before) - set(after)])
    joined = np.isin(new, [number[name] for name in set(after) - set(before)])
    return Disruption(len(before), change, float(np.mean(old != new)), float(np.mean(left | joined)))


@dataclass(frozen=True, slots=True)
class Routed:
    """Live calls after a change of the pool.

    Packets of `own` reached their worker, those of `moved` another one although theirs is there; `of_lost` had a worker
    that left.
    """

    own: int
    moved: int
    of_lost: int


def route_live_calls(before: int, after: int, calls: int, seed: int) -> Routed:
    """Have workers issue connection IDs, change the pool to its first `after` workers, and route a packet of each call.

    Encoder, table and router are the load balancer's own.
    """
    rng = np.random.default_rng(seed)
    routing = _pool(before, after)
    owners = rng.integers(0, before, calls)
    own = 0
    for owner in owners.tolist():
        encoder = CidEncoder(_CONFIG, _server_id(owner), rng=rng.bytes)
        packet = b"\x40" + encoder.encode() + rng.bytes(32)
        client = (f"10.{rng.integers(256)}.{rng.integers(256)}.{rng.integers(256)}", int(rng.integers(1024, 65_536)))
        decision = route(routing, packet, client, ("192.0.2.1", 443))
        own += isinstance(decision, Routable) and decision.server_id == _server_id(owner)
    of_lost = int(np.sum(owners >= after))
    return Routed(own, calls - own - of_lost, of_lost)


_CONFIG = QuicLbConfig(0, 4, 12, bytes(range(16)))


def _server_id(number: int) -> bytes:
    return (number + 1).to_bytes(4, "big")


def _pool(before: int, after: int) -> RoutingTable:
    """The pool after the change: workers that left are down, and new ones are there."""
    names = names_of(max(before, after))
    backends = [
        Backend(
            name,
            (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 7_000),
            BackendState.ACTIVE if number < after else BackendState.DOWN,
            {0: (_server_id(number),)},
        )
        for number, name in enumerate(names)
    ]
    return build_table([_CONFIG], backends)
