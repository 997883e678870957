"""What a link does to a datagram: delay, jitter, loss, a rate and its queue, reordering, limit of size, blackouts."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

IP_UDP_BYTES: Final = 28


@dataclass(frozen=True, slots=True)
class Burst:
    """Gilbert's loss: each datagram may `enter` a bad spell or `leave` it; in a spell `loss` of them are lost.

    With a `length` each spell is of so many datagrams, all lost.
    """

    enter: float
    leave: float = 1.0
    loss: float = 1.0
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """One direction of a link; shares are of datagrams, from 0 to 1.

    Jitter is uniform and keeps the order; `reorder` of the datagrams are overtaken by those of the next `reorder_s`.
    With a rate, datagrams wait their turn in a queue of so many bytes, IP and UDP headers included, and are dropped
    where it is full: a long queue delays, as in a modem with too much buffer.
    """

    delay_s: float = 0.001
    jitter_s: float = 0.0
    loss: float = 0.0
    burst: Burst | None = None
    reorder: float = 0.0
    reorder_s: float = 0.015
    duplicate: float = 0.0
    max_payload_bytes: int = 1_472
    rate_bytes_s: float | None = None
    queue_bytes: int = 64_000


class Direction:
    """One direction of a link, with what it remembers from one datagram to the next."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.blackouts: list[tuple[float, float]] = []
        self._is_bad_spell = False
        self._spell_left = 0
        self._last_arrival = 0.0
        self._sent_at = 0.0

    def carry(self, now: float, size: int, rng: random.Random) -> list[float] | str:
        """The instants at which the datagram arrives (two of a duplicate), or why it does not."""
        profile = self.profile
        if size > profile.max_payload_bytes:
            return "too large"
        if any(start <= now < end for start, end in self.blackouts):
            return "blackout"
        sent_at = self._leaves_at(now, size)
        if sent_at is None:
            return "queue full"
        if self._is_lost(rng):
            return "lost"
        arrival = sent_at + profile.delay_s
        if profile.jitter_s:
            arrival = max(arrival + rng.uniform(0, profile.jitter_s), self._last_arrival)
        if profile.reorder and rng.random() < profile.reorder:
            arrivals = [arrival + profile.reorder_s]
        else:
            self._last_arrival = arrival
            arrivals = [arrival]
        if profile.duplicate and rng.random() < profile.duplicate:
            arrivals.append(arrivals[0] + rng.uniform(0, profile.reorder_s))
        return arrivals

    def _leaves_at(self, now: float, size: int) -> float | None:
        """When its last byte is on the link, or `None` where the queue has no room for it."""
        rate, total = self.profile.rate_bytes_s, size + IP_UDP_BYTES
        if rate is None:
            return now
        begin = max(now, self._sent_at)
        if (begin - now) * rate + total > self.profile.queue_bytes:
            return None
        self._sent_at = begin + total / rate
        return self._sent_at

    def _is_lost(self, rng: random.Random) -> bool:
        profile = self.profile
        if (burst := profile.burst) is not None and burst.length is not None:
            self._spell_left = self._spell_left - 1 if self._spell_left else burst.length * (rng.random() < burst.enter)
            if self._spell_left:
                return True
        elif burst is not None:
            self._is_bad_spell = rng.random() >= burst.leave if self._is_bad_spell else rng.random() < burst.enter
            if self._is_bad_spell and rng.random() < burst.loss:
                return True
        return bool(profile.loss) and rng.random() < profile.loss


class Link:
    """A host's way to the network: `up` away from it, `down` towards it."""

    def __init__(self, up: Profile, down: Profile | None = None) -> None:
        self.up = Direction(up)
        self.down = Direction(down if down is not None else up)

    def change(self, profile: Profile) -> None:
        """From now on both directions are like this."""
        self.up.profile = self.down.profile = profile

    def black_out(self, start: float, end: float) -> None:
        """Nothing that is sent between the two instants of loop time arrives."""
        self.up.blackouts.append((start, end))
        self.down.blackouts.append((start, end))
