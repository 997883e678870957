"""One direction of an emulated link, sans-IO: when a packet arrives, or that it is lost.

Bursts are drawn over time and not over packets: with the same seed each driver meets them at the same instants, however
many packets it sends. Single losses and jitter are drawn packet by packet.
"""

from __future__ import annotations

import bisect
import random
from dataclasses import dataclass

from voice_eval.network.condition import Condition, Direction
from voice_eval.network.trace import DELIVERY_BYTES, Trace


@dataclass(frozen=True, slots=True)
class Outage:
    """Nothing passes, from and until, in seconds of the link's clock."""

    begin_s: float
    end_s: float


class PacketPath:
    """Give each packet with its time to `carry`; times are seconds since the link was opened."""

    def __init__(self, direction: Direction, seed: str, trace: Trace | None = None) -> None:
        self._direction = direction
        self._trace = trace
        self._packets = random.Random(f"{seed}/packets")
        self._spells = random.Random(f"{seed}/spells")
        self._drawn: list[Outage] = []
        self._last_arrival = 0.0
        self._free_at = 0.0
        self._delivery = -1
        self._delivery_left = 0
        self.outages: list[Outage] = []

    @property
    def delay_s(self) -> float:
        """The least that a packet takes."""
        return self._direction.delay_ms / 1000

    def carry(self, now_s: float, size: int) -> float | None:
        """Return when a packet of so many bytes arrives, `None` where it is lost."""
        lost_alone, jitter = self._packets.random(), self._packets.random()
        if any(outage.begin_s <= now_s < outage.end_s for outage in self.outages) or self._is_in_spell(now_s):
            return None
        delay_s, loss, rate_kbit = self.delay_s, self._direction.loss, self._direction.rate_kbit
        if self._trace is not None and self._trace.rows:
            row = self._trace.row(now_s)
            delay_s, loss, rate_kbit = row.delay_s, row.loss, row.rate_kbit
        if lost_alone < loss:
            return None
        sent_s = self._sent(now_s, size, rate_kbit)
        if sent_s is None:
            return None
        self._last_arrival = max(self._last_arrival, sent_s + delay_s + jitter * self._direction.jitter_ms / 1000)
        return self._last_arrival

    def _sent(self, now_s: float, size: int, rate_kbit: float | None) -> float | None:
        """When the last bit leaves, `None` where the queue is full."""
        if self._trace is not None and self._trace.deliveries_s:
            return self._delivered(self._trace, now_s, size)
        if rate_kbit is None:
            return now_s
        begin_s = max(now_s, self._free_at)
        if begin_s - now_s > self._direction.queue_ms / 1000:
            return None
        self._free_at = begin_s + size * 8 / (rate_kbit * 1000)
        return self._free_at

    def _delivered(self, trace: Trace, now_s: float, size: int) -> float | None:
        first = trace.first_delivery(now_s)
        number, left = (self._delivery, self._delivery_left) if self._delivery >= first else (first, DELIVERY_BYTES)
        while left < size:
            number, left = number + 1, left + DELIVERY_BYTES
        at_s = trace.next_delivery(number)
        if at_s - now_s > self._direction.queue_ms / 1000:
            return None
        self._delivery, self._delivery_left = number, left - size
        return max(now_s, at_s)

    def _is_in_spell(self, now_s: float) -> bool:
        bursts = self._direction.bursts
        if bursts is None:
            return False
        good_s = bursts.mean_ms / 1000 * (1 - bursts.share) / bursts.share
        while not self._drawn or self._drawn[-1].end_s <= now_s:
            last_s = self._drawn[-1].end_s if self._drawn else 0.0
            begin_s = last_s + self._spells.expovariate(1 / good_s)
            self._drawn.append(Outage(begin_s, begin_s + self._spells.expovariate(1000 / bursts.mean_ms)))
        # a retransmission may have asked about a later time before
        place = bisect.bisect_right(self._drawn, now_s, key=lambda spell: spell.begin_s) - 1
        return place >= 0 and now_s < self._drawn[place].end_s


class TcpPath:
    """A direction as a TCP stream sees it: complete and in order, what the path loses is sent again.

    A model, not a kernel: a lost segment is repeated after a round trip and 60 ms (found by later ACKs), then after
    200 ms and a round trip, doubled each time; the rest waits for it.
    """

    _FOUND_S, _TIMEOUT_S, _LONGEST_S = 0.06, 0.2, 60.0

    def __init__(self, path: PacketPath, round_trip_s: float) -> None:
        self._path = path
        self._round_trip_s = round_trip_s
        self._last_s = 0.0

    def carry(self, now_s: float, size: int) -> float:
        """Return when these bytes are delivered."""
        sent_s, wait_s = now_s, self._round_trip_s + self._TIMEOUT_S
        arrival = self._path.carry(sent_s, size)
        if arrival is None:
            sent_s += self._round_trip_s + self._FOUND_S
            arrival = self._path.carry(sent_s, size)
        while arrival is None and sent_s - now_s < self._LONGEST_S:
            sent_s += wait_s
            wait_s *= 2
            arrival = self._path.carry(sent_s, size)
        self._last_s = max(self._last_s, sent_s if arrival is None else arrival)
        return self._last_s


class LinkPaths:
    """Both directions of a link under a condition, and what happens on it once the caller speaks."""

    def __init__(self, condition: Condition, seed: str, trace: Trace | None = None) -> None:
        self.condition = condition
        self.up = PacketPath(condition.up, f"{seed}/up", trace)
        self.down = PacketPath(condition.down or condition.up, f"{seed}/down", trace)

    @property
    def round_trip_s(self) -> float:
        return self.up.delay_s + self.down.delay_s

    def begin_speech(self, now_s: float, until_s: float) -> list[Outage]:
        """Place the blackouts, those that repeat until `until_s`, and return them."""
        outages = []
        for span in self.condition.blackouts:
            begin_s = now_s + span.at_ms / 1000
            while begin_s < until_s:
                outages.append(Outage(begin_s, begin_s + span.for_ms / 1000))
                if span.every_ms is None:
                    break
                begin_s += span.every_ms / 1000
        self.up.outages += outages
        self.down.outages += outages
        return sorted(outages, key=lambda each: each.begin_s)

    def new_addresses(self, now_s: float) -> list[float]:
        """When the caller's address changes."""
        return [now_s + each / 1000 for each in self.condition.new_address_ms]
