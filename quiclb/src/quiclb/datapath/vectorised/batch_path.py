"""`quiclb.datapath.forwarding_rules.ForwardingRules` over a batch, on the bytes where they lie.

Rows that look unusual (an address that can be no client's, a malformed reply) go to the scalar rules one by one: every
rule about them is written once.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from quiclb.datapath.forwarding_rules import ForwardingRules, ReplyFault
from quiclb.datapath.linux import libc, pktinfo
from quiclb.datapath.linux.batches import Addresses, ByteArray, Flags, Integers, ReceiveBatch, Sources, Words
from quiclb.datapath.linux.segments import split_lengths
from quiclb.datapath.vectorised.arrays.addresses import HEADER, family_of
from quiclb.datapath.vectorised.arrays.word_index import MISSING
from quiclb.datapath.vectorised.batch_router import OUTCOMES, BatchRouter, overlapping, vip_hashes
from quiclb.net.address import is_ipv6
from quiclb.net.spp import HEADER_LENGTH, MAGIC, SppHeader, wrap
from quiclb.routing.fallback import vip_hash
from quiclb.routing.table import RoutingTable


@dataclass(frozen=True, slots=True)
class ReplyBatch:
    """Datagrams for clients: where each payload starts in the receive buffer, its length, and its destination.

    `sources` are the addresses to send from, `None` if the VIP is one address.
    """

    starts: Integers
    lengths: Integers
    names: Addresses
    sources: Sources | None


class BatchPath:
    """Works on `clients`, the batch that the VIP receives into, and on `backends`, that of the inner side.

    Both batches stay the same for good; a new table in the rules takes effect with the next call. Totals reach
    `rules.counters` with `flush`, which the datapath calls whenever it has nothing else to do.
    """

    def __init__(self, rules: ForwardingRules, clients: ReceiveBatch, backends: ReceiveBatch) -> None:
        self.family: Final = family_of(rules.vip, is_loopback_allowed=rules.is_loopback_allowed)
        self.inner_family: Final = family_of(rules.inner, is_loopback_allowed=True)
        self._rules = rules
        self._clients = clients
        self._backends = backends
        start = clients.HEADROOM - HEADER_LENGTH
        self._headroom = clients.rows[:, start : clients.HEADROOM]
        self._headroom[:] = np.frombuffer(wrap(SppHeader(("0.0.0.0", 0), rules.vip), b""), np.uint8)  # noqa: S104
        self._headers: npt.NDArray[np.void] = np.ndarray(
            (clients.capacity,), HEADER, clients.buffer.data, start, (clients.stride,)
        )
        self._reply_headers = overlapping(backends.buffer, HEADER_LENGTH)
        self._vip_hash = np.uint64(vip_hash(rules.vip))
        self._local_destinations: Sources | None = None
        if rules.is_wildcard:
            family = socket.AF_INET6 if is_ipv6(rules.vip) else socket.AF_INET
            layout = pktinfo.LAYOUTS[family]
            words = clients.control.view(np.uint32)
            first = layout.destination_at // words.itemsize
            self._local_destinations = words[:, first : first + layout.address_words]
        self._outcome_totals = np.zeros(2 * len(OUTCOMES), np.int64)
        self._to_totals = self._from_totals = self._to_bytes = self._from_bytes = np.zeros(0, np.int64)
        self._sent = 0
        self.backend_names: Addresses = np.zeros(0, libc.SOCKADDR)
        self._use(rules.table)

    def from_clients(self, count: int) -> tuple[Integers, Integers]:
        """Put headers in front of the first `count` datagrams of `clients`.

        Returns the rows to send, in order of arrival, and the index of each one's backend in `backend_names`. What
        must be sent begins `HEADER_LENGTH` bytes before the datagram.
        """
        if self._rules.table is not self._router.table:
            self._use(self._rules.table)
        batch, router = self._clients, self._router
        names = batch.names[:count]
        lengths = batch.lengths[:count].astype(np.int64)
        headers = self._headers[:count]
        if self._local_destinations is not None:
            self.family.write_local_destinations(self._local_destinations[:count], headers)
        routes = router.route(
            batch.buffer, batch.offsets[:count], lengths, lambda rows: self._flow_words(names[rows], headers[rows])
        )
        backends = routes.backends
        is_refused = self._refused(names)
        if is_refused is None:
            self._count_packets(backends, routes.outcomes, lengths)
        else:
            backends[is_refused] = MISSING
            self._count_packets(backends[~is_refused], routes.outcomes[~is_refused], lengths[~is_refused])
        self.family.write_headers(names, headers)
        if backends.min() >= 0:
            return np.arange(count), backends
        rows = np.flatnonzero(backends >= 0)
        return rows, backends[rows]

    def from_backends(self, count: int, segment_lengths: Integers) -> ReplyBatch:
        """Take the headers off the datagrams in the first `count` messages of `backends`.

        `segment_lengths` says how long the datagrams of a joined message are, 0 for a message that is one datagram.
        """
        batch = self._backends
        sources = self._sources.find(*self.inner_family.keys(batch.names[:count]))
        lengths = batch.lengths[:count].astype(np.int64)
        if not np.count_nonzero(segment_lengths) and not np.count_nonzero(sources < 0):
            starts = batch.offsets[:count]
        else:
            messages, offsets, lengths = split_lengths(lengths, segment_lengths)
            sources, starts = sources[messages], batch.offsets[messages] + offsets
            is_known = sources >= 0
            if not is_known.all():
                self._rules.counters.replies["drop", ReplyFault.UNTRUSTED_SOURCE] += int(np.count_nonzero(~is_known))
                sources, starts, lengths = sources[is_known], starts[is_known], lengths[is_known]
        self._from_totals += np.bincount(sources, minlength=len(self._from_totals))
        return self._open(sources, starts, lengths)

    def _open(self, sources: Integers, starts: Integers, lengths: Integers) -> ReplyBatch:
        raw = self._reply_headers[starts]
        headers = raw.view(HEADER)
        is_odd = headers["magic"] != MAGIC
        is_odd |= lengths <= HEADER_LENGTH
        names = self.family.names_of(headers)
        is_odd |= self.family.doubtful_headers(headers, names)
        if self._rules.is_wildcard:
            is_odd |= self.family.doubtful_local_sources(headers)
        if np.count_nonzero(is_odd):
            for row in np.flatnonzero(is_odd):
                is_odd[row] = self._is_bad_reply(int(starts[row]), int(lengths[row]))
            if is_odd.any():
                headers, starts, lengths = raw[~is_odd].view(HEADER), starts[~is_odd], lengths[~is_odd]
                names, sources = names[~is_odd], sources[~is_odd]
        self._sent += len(starts)
        self._from_bytes += _sums(sources, lengths - HEADER_LENGTH, len(self._from_bytes))
        local_sources = self.family.local_sources(headers) if self._rules.is_wildcard else None
        return ReplyBatch(starts + HEADER_LENGTH, lengths - HEADER_LENGTH, names, local_sources)

    def flush(self) -> None:
        """Add what was counted since the last call to the rules's counters."""
        counters = self._rules.counters
        for place in np.flatnonzero(self._outcome_totals):
            outcome, is_placed = OUTCOMES[place >> 1], place & 1
            decision = "routable" if outcome is None else "fallback" if is_placed else "drop"
            counters.packets[decision, outcome or "ok"] += int(self._outcome_totals[place])
        self._outcome_totals[:] = 0
        for into, totals, direction in (
            (counters.backend_packets, self._to_totals, "to"),
            (counters.backend_packets, self._from_totals, "from"),
            (counters.backend_bytes, self._to_bytes, "to"),
            (counters.backend_bytes, self._from_bytes, "from"),
        ):
            for index in np.flatnonzero(totals):
                into[self._router.backends[index].name, direction] += int(totals[index])
            totals[:] = 0
        if self._sent:
            counters.replies["sent", "ok"] += self._sent
            self._sent = 0

    def _use(self, table: RoutingTable) -> None:
        self.flush()
        self._router = BatchRouter(table)
        addresses = [backend.address for backend in self._router.backends]
        self._sources = self.inner_family.index(addresses)
        names = b"".join(self.inner_family.name(address) for address in addresses)
        self.backend_names = np.frombuffer(names, libc.SOCKADDR).copy()
        self._to_totals = np.zeros(len(addresses), np.int64)
        self._from_totals = np.zeros(len(addresses), np.int64)
        self._to_bytes = np.zeros(len(addresses), np.int64)
        self._from_bytes = np.zeros(len(addresses), np.int64)

    def _flow_words(self, names: Addresses, headers: npt.NDArray[np.void]) -> tuple[Words, Words, Words, Words]:
        high, low, ports = self.family.flow_words(names)
        if self._local_destinations is None:
            return np.full(len(high), self._vip_hash), high, low, ports
        vips = headers["vip_high"].astype(np.uint64), headers["vip_low"].astype(np.uint64)
        return vip_hashes(*vips, self._rules.vip[1]), high, low, ports

    def _count_packets(self, backends: Integers, outcomes: ByteArray, lengths: Integers) -> None:
        if np.count_nonzero(outcomes):
            places = outcomes.astype(np.int64) * 2 + (backends >= 0)
            self._outcome_totals += np.bincount(places, minlength=len(self._outcome_totals))
            is_placed = backends >= 0
            backends, lengths = backends[is_placed], lengths[is_placed]
        else:
            self._outcome_totals[1] += len(backends)
        self._to_totals += np.bincount(backends, minlength=len(self._to_totals))
        self._to_bytes += _sums(backends, lengths, len(self._to_bytes))

    def _refused(self, names: Addresses) -> Flags | None:
        """Which senders can be no clients; `None` if all can. Counts them."""
        is_refused = self.family.doubtful_names(names)
        if not np.count_nonzero(is_refused):
            return None
        for row in np.flatnonzero(is_refused):
            fault = self._rules.client_fault(self.family.address(names[row].tobytes()))
            is_refused[row] = fault is not None
            if fault is not None:
                self._rules.counters.packets["drop", fault] += 1
        return is_refused if is_refused.any() else None

    def _is_bad_reply(self, start: int, length: int) -> bool:
        reply = self._rules.open_reply(self._backends.buffer[start : start + length].tobytes())
        if not isinstance(reply, StrEnum):
            return False
        self._rules.counters.replies["drop", reply] += 1
        return True


def _sums(places: Integers, values: Integers, count: int) -> Integers:
    """The values of each place added up; exact below 2**53."""
    return np.bincount(places, values, count).astype(np.int64)
