"""Which backends answer, and what becomes of their traffic.

Only a backend itself can continue its connections: others tell their clients that they are lost. So a backend
keeps them until probes have shown that it is dead, and has them again with its first answer; new connections it gets
when it has answered `rise` times in a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from quiclb.net.address import Address
from quiclb.routing.pool import Backend, BackendState


class Health(StrEnum):
    """What the probes say."""

    UNKNOWN = "unknown"
    """No result yet; used like one that is up: a restart of the load balancer must not cost a call."""
    UP = "up"
    DOUBTFUL = "doubtful"
    """Was down and has answered since, or failed while no backend answered: keeps its connections, gets no new ones."""
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """Probes every `interval_s`, `timeout_s` apart while a change is being confirmed; `fall` misses in a row are down,
    `rise` answers in a row are up again."""

    interval_s: float = 2.0
    timeout_s: float = 1.0
    fall: int = 3
    rise: int = 2

    def needed(self, health: Health, is_answered: bool) -> int:
        """How many results in a row it takes to leave this health; a first answer is taken at once."""
        if not is_answered:
            return self.fall
        return self.rise if health is Health.DOUBTFUL else 1


TRANSITIONS: Final = {
    (Health.UNKNOWN, True): Health.UP,
    (Health.UNKNOWN, False): Health.DOWN,
    (Health.UP, False): Health.DOWN,
    (Health.DOWN, True): Health.DOUBTFUL,
    (Health.DOUBTFUL, True): Health.UP,
    (Health.DOUBTFUL, False): Health.DOWN,
}
"""(health, was answered): what enough such results in a row lead to. All others confirm the health."""

REFUSAL_PATIENCE_S: Final = 0.1
"""How long a probe must stay unanswered before a second refusal is believed: an answer proves the first one forged."""

JITTER: Final = 0.2
"""The part of an interval by which probes wander, so that load balancers that started together do not probe
together."""


class HealthMonitor:
    """Decides when to probe which backend, and derives health from the results.

    Call `watch` with the addresses, then `poll` whenever `next_deadline` has come: it returns the addresses to probe
    now. Call `answered` for each answer, `refused` when the network says that no socket listens, and `doubt` when
    earlier results may be wrong. `health` changes in these four only; all tell through `has_changed`. `rng` draws from
    0 to 1.
    """

    def __init__(self, policy: HealthPolicy, rng: Callable[[], float]) -> None:
        self.policy = policy
        """May be replaced at any time; what is known stays."""
        self.results: Counter[tuple[Address, str]] = Counter()
        """Probes by (address, `answered` or `missed`)."""
        self._rng = rng
        self._targets: dict[Address, _Target] = {}
        self.has_changed = False
        """Set when a backend's health changed; the reader clears it."""

    def watch(self, addresses: Iterable[Address], now: float) -> None:
        """Probe these from now on; what is known of those that stay is kept, new ones are probed within an interval."""
        wanted = set(addresses)
        for address in self._targets.keys() - wanted:
            del self._targets[address]
        for key in [key for key in self.results if key[0] not in wanted]:
            del self.results[key]
        for address in sorted(wanted - self._targets.keys()):
            self._targets[address] = _Target(now + self._rng() * self.policy.interval_s)

    def poll(self, now: float) -> list[Address]:
        """Count the probes that stayed unanswered, and return whom to probe now."""
        due = []
        for address, target in self._targets.items():
            if target.next_at > now:
                continue
            if target.is_waiting:
                target.is_waiting = False
                self.results[address, "missed"] += 1
                self._record(target, False, now)
                if target.next_at > now:
                    continue
            target.is_waiting = True
            target.next_at = now + self.policy.timeout_s
            due.append(address)
        return due

    def answered(self, address: Address, now: float) -> bool:
        """Take an answer; return whether one was expected."""
        target = self._targets.get(address)
        if target is None or not target.is_waiting:
            return False
        target.is_waiting = False
        self.results[address, "answered"] += 1
        self._record(target, True, now)
        return True

    def refused(self, address: Address, now: float) -> None:
        """Forwarded datagrams came back by ICMP: probe at once, and do not wait for `fall` misses if it goes on.

        ICMP messages can be forged, but not beside a backend that answers the probe.
        """
        target = self._targets.get(address)
        if target is None or target.health is Health.DOWN:
            return
        if target.refused_at is None:
            target.refused_at = now
            if not target.is_waiting:
                target.next_at = now
        elif target.is_waiting and now - target.refused_at >= REFUSAL_PATIENCE_S:
            target.is_waiting = False
            self.results[address, "missed"] += 1
            target.was_answered, target.streak = False, self.policy.needed(target.health, False) - 1
            self._record(target, False, now)

    def doubt(self, now: float) -> None:
        """Turn `down` into `doubtful` and probe at once, before connections are taken from backends that live."""
        for target in self._targets.values():
            if target.health is Health.DOWN:
                target.health, target.streak = Health.DOUBTFUL, 0
                self.has_changed = True
                if not target.is_waiting:
                    target.next_at = now

    def health(self, address: Address) -> Health:
        """Return the health; `unknown` for an address that is not watched."""
        target = self._targets.get(address)
        return Health.UNKNOWN if target is None else target.health

    def next_deadline(self) -> float | None:
        """When to call `poll` next, or `None` if no address is watched."""
        return min((target.next_at for target in self._targets.values()), default=None)

    def _record(self, target: _Target, is_answered: bool, now: float) -> None:
        policy = self.policy
        target.refused_at = None
        target.streak = target.streak + 1 if is_answered is target.was_answered else 1
        target.was_answered = is_answered
        while (following := TRANSITIONS.get((target.health, is_answered))) is not None:
            if target.streak < policy.needed(target.health, is_answered):
                break
            target.health = following
            self.has_changed = True
        if target.health is Health.DOWN:
            # a restart should be noticed soon, and the miss has already cost the timeout
            target.next_at = now + policy.timeout_s * JITTER * self._rng()
        elif (target.health, is_answered) not in TRANSITIONS:
            target.next_at = now + policy.interval_s * (1 + JITTER * (2 * self._rng() - 1))
        else:
            # a miss has already cost the timeout
            target.next_at = now + (min(policy.interval_s, policy.timeout_s) if is_answered else 0.0)


def apply_health(backends: Sequence[Backend], health: Callable[[Address], Health]) -> tuple[tuple[Backend, ...], bool]:
    """Return the backends in the state they have in effect, and whether health had to be ignored (fail open).

    Health only ever takes away: a backend that is down by configuration stays down. When no active backend is left,
    the probes are more likely wrong than all backends dead, so everything is used as configured. When that ends,
    call `doubt`: backends that are down have been used until now, and are probed again first.
    """
    effective = tuple(_in_effect(backend, health(backend.address)) for backend in backends)
    is_any_active = any(backend.state is BackendState.ACTIVE for backend in effective)
    was_any_active = any(backend.state is BackendState.ACTIVE for backend in backends)
    if was_any_active and not is_any_active:
        return tuple(backends), True
    return effective, False


def _in_effect(backend: Backend, health: Health) -> Backend:
    if health is Health.DOWN:
        return replace(backend, state=BackendState.DOWN)
    if health is Health.DOUBTFUL and backend.state is BackendState.ACTIVE:
        return replace(backend, state=BackendState.DRAINING)
    return backend


@dataclass(slots=True)
class _Target:
    """`next_at` is when to probe, or while `is_waiting` when to give an answer up. `streak` counts the results in a row
    that were as the last one. `refused_at` is since the last probe with a result."""

    next_at: float
    health: Health = Health.UNKNOWN
    was_answered: bool = False
    streak: int = 0
    is_waiting: bool = False
    refused_at: float | None = None
