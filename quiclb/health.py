"""Which backends answer: several probes in a row must agree before anything changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from quiclb.address import Address
from quiclb.pool import Backend, BackendState


class Health(StrEnum):
    """What the probes say. A backend never heard of is used like one that is up: a restart must not cost a call."""

    UNKNOWN = "unknown"
    UP = "up"
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
        """How many results in a row it takes to leave this health; the first word of a backend is taken at once."""
        if is_answered:
            return 1 if health is Health.UNKNOWN else self.rise
        return self.fall


TRANSITIONS: Final = {
    (Health.UNKNOWN, True): Health.UP,
    (Health.UNKNOWN, False): Health.DOWN,
    (Health.UP, False): Health.DOWN,
    (Health.DOWN, True): Health.UP,
}
"""(health, was answered): what enough such results in a row lead to. All others confirm the health."""

REFUSAL_PATIENCE_S: Final = 0.1
"""How long a probe must stay unanswered before a second refusal is believed: an answer proves the first one forged."""

JITTER: Final = 0.2
"""The part of an interval by which probes wander, so that forwarders that started together do not probe together."""


class HealthMonitor:
    """Says when to probe whom, and what the results mean.

    Call `watch` with the addresses, then `poll` whenever `next_deadline` has come: it returns whom to probe now. Call
    `answered` for each answer, and `refused` when the network says that nobody listens. `health` changes in these three
    only; all tell through `has_changed`. `rng` draws from 0 to 1.
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
                self._judge(target, False, now)
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
        self._judge(target, True, now)
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
            target.streak = self.policy.needed(target.health, False) - 1
            self._judge(target, False, now)

    def health(self, address: Address) -> Health:
        """What is known of this address."""
        target = self._targets.get(address)
        return Health.UNKNOWN if target is None else target.health

    def next_deadline(self) -> float | None:
        """When to call `poll` next, or `None` if nobody is watched."""
        return min((target.next_at for target in self._targets.values()), default=None)

    def _judge(self, target: _Target, is_answered: bool, now: float) -> None:
        policy = self.policy
        target.refused_at = None
        following = TRANSITIONS.get((target.health, is_answered))
        target.streak = 0 if following is None else target.streak + 1
        if following is not None and target.streak >= policy.needed(target.health, is_answered):
            target.health, target.streak = following, 0
            self.has_changed = True
        if target.health is Health.DOWN and not is_answered:
            # a restart should be noticed soon, and the miss has already cost the timeout
            target.next_at = now + policy.timeout_s * JITTER * self._rng()
        elif target.streak == 0:
            target.next_at = now + policy.interval_s * (1 + JITTER * (2 * self._rng() - 1))
        else:
            # a miss has already cost the timeout
            target.next_at = now + (min(policy.interval_s, policy.timeout_s) if is_answered else 0.0)


def apply_health(backends: Sequence[Backend], health: dict[Address, Health]) -> tuple[tuple[Backend, ...], bool]:
    """Return the backends in the state they have in effect, and whether health had to be ignored (fail open).

    Health only ever takes away: a backend that is down by configuration stays down. When no active backend is left,
    the probes are more likely wrong than all backends dead, so everything is used as configured.
    """
    judged = tuple(
        replace(backend, state=BackendState.DOWN) if health.get(backend.address) is Health.DOWN else backend
        for backend in backends
    )
    is_any_active = any(backend.state is BackendState.ACTIVE for backend in judged)
    was_any_active = any(backend.state is BackendState.ACTIVE for backend in backends)
    if was_any_active and not is_any_active:
        return tuple(backends), True
    return judged, False


@dataclass(slots=True)
class _Target:
    """`next_at` is when to probe, or while `is_waiting` when to give an answer up. `refused_at` is since the last probe
    that was judged."""

    next_at: float
    health: Health = Health.UNKNOWN
    streak: int = 0
    is_waiting: bool = False
    refused_at: float | None = None
