"""Runs the vectorised datapath without sockets, beside the scalar one that says what is right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quiclb.datapath.base import Datagrams, Replies
from quiclb.datapath.forwarding_rules import ForwardingRules
from quiclb.datapath.linux.batches import ReceiveBatch
from quiclb.datapath.vectorised.batch_path import BatchPath
from quiclb.net.address import Address, ip_facts, ip_text, is_ipv6, is_wildcard
from quiclb.net.spp import HEADER_LENGTH, SppHeader
from quiclb.routing.table import RoutingTable

SLOT_BYTES = 512
V4_MAPPED = bytes(10) + b"\xff\xff"


class VectorHarness:
    """Takes and gives what `ForwardingRules` does; batches of at most `capacity`."""

    def __init__(self, table: RoutingTable, vip: Address, inner: Address, *, capacity: int = 512, **options) -> None:
        self.rules = ForwardingRules(table, vip, inner, **options)
        self._clients = ReceiveBatch(capacity, SLOT_BYTES, has_control=self.rules.is_wildcard)
        self._backends = ReceiveBatch(capacity, 65536)
        self._batches = BatchPath(self.rules, self._clients, self._backends)

    def from_clients(self, batch: Datagrams, vips: Sequence[Address] = ()) -> Datagrams:
        """`vips` are the addresses that each was sent to, for a wildcard VIP."""
        _fill(self._clients, batch, self._batches.family)
        for row, vip in enumerate(vips):
            packed = ip_facts(vip[0]).packed[-16 if is_ipv6(self.rules.vip) else -4 :]
            start = 16 if is_ipv6(self.rules.vip) else 24
            self._clients.control[row, start : start + len(packed)] = np.frombuffer(packed, np.uint8)
        rows, backends = self._batches.from_clients(len(batch))
        self._batches.flush()
        out = []
        for row, backend in zip(rows, backends, strict=True):
            start = int(self._clients.offsets[row]) - HEADER_LENGTH
            datagram = self._clients.buffer[start : start + HEADER_LENGTH + len(batch[row][0])].tobytes()
            name = self._batches.backend_names[backend].tobytes()
            out.append((datagram, self._batches.inner_family.address(name)))
        return out

    def from_backends(self, batch: Datagrams, segment_lengths: list[int] | None = None) -> Replies:
        _fill(self._backends, batch, self._batches.inner_family)
        segments = np.array(segment_lengths or [0] * len(batch), np.int64)
        replies = self._batches.from_backends(len(batch), segments)
        self._batches.flush()
        out = []
        for row, (start, length, name) in enumerate(zip(replies.starts, replies.lengths, replies.names, strict=True)):
            client = self._batches.family.address(name.tobytes())
            vip = self.rules.vip
            if replies.sources is not None:
                source = replies.sources[row].tobytes()
                named = (ip_text(source if len(source) == 16 else V4_MAPPED + source), vip[1])
                vip = vip if is_wildcard(named) else named
            out.append((self._backends.buffer[start : start + length].tobytes(), SppHeader(client, vip)))
        return out


def _fill(into: ReceiveBatch, batch: Datagrams, family) -> None:
    for row, (datagram, address) in enumerate(batch):
        start = int(into.offsets[row])
        into.buffer[start : start + len(datagram)] = np.frombuffer(datagram, np.uint8)
        into.lengths[row] = len(datagram)
        into.names[row] = np.frombuffer(family.name(address), into.names.dtype)[0]
