"""The loop of the vectorised datapath: receive a batch, forward it, wait only when there is nothing to do."""

from __future__ import annotations

import errno
import select
import socket
from typing import Final

import numpy as np

from quiclb.datapath.base import Side
from quiclb.datapath.forwarding_rules import ForwardingRules
from quiclb.datapath.linux import pktinfo
from quiclb.datapath.linux.batches import Integers, ReceiveBatch, SendBatch
from quiclb.datapath.linux.segments import MAX_SEGMENTS_RECEIVED, message_starts, runs
from quiclb.datapath.linux.sender import Sender
from quiclb.datapath.linux.sockets import read_error_queue
from quiclb.datapath.vectorised.batch_path import BatchPath, ReplyBatch
from quiclb.datapath.vectorised.single_path import MAX_DATAGRAM_BYTES, SinglePath
from quiclb.net.address import normalise
from quiclb.net.spp import HEADER_LENGTH

BATCH: Final = 512
"""Datagrams a receive call takes from clients."""

JOINED_BATCH: Final = 256
"""Messages a receive call takes from backends, each of up to 128 datagrams; few would throttle backends without GSO."""

SINGLES: Final = 8
"""After so many datagrams of a side, taken one by one while more waited each time, a batch is taken."""

FEW: Final = 6
"""A batch of so many or fewer would have left sooner one by one, and so will the next."""

JOIN_FROM: Final = 48
"""From this many datagrams on it pays to look for some that can be sent joined."""

FLUSH_BATCHES: Final = 64
"""How many batches the counters may lag behind under load; they are exact when the loop is idle."""

_UNREACHABLE: Final = {"ECONNREFUSED", "EHOSTUNREACH"}


class BatchLoop:
    """Forwards between two bound sockets until the eventfd `wake` is written to; `run` it in a thread or a process."""

    def __init__(self, vip: socket.socket, inner: socket.socket, wake: int, rules: ForwardingRules) -> None:
        self._rules = rules
        self._unflushed = 0
        self._wake = wake
        self._sockets = {Side.VIP: vip, Side.INNER: inner}
        self._vip_fd, self._inner_fd = vip.fileno(), inner.fileno()
        # one byte more than may pass shows what is too long
        self._clients = ReceiveBatch(BATCH, MAX_DATAGRAM_BYTES + 1, has_control=rules.is_wildcard)
        self._backends = ReceiveBatch(JOINED_BATCH, 65536, has_control=True)
        self._segment_lengths = self._backends.control.view(np.int32)[:, 4]
        self._batches = BatchPath(rules, self._clients, self._backends)
        self._to_backends = SendBatch(BATCH, self._batches.inner_family.name_length)
        local_source = pktinfo.LAYOUTS[vip.family] if rules.is_wildcard else None
        most_replies = JOINED_BATCH * MAX_SEGMENTS_RECEIVED
        self._to_clients = SendBatch(most_replies, self._batches.family.name_length, local_source)
        self._singles = SinglePath(vip, inner, rules, lambda side, error: self._failed(side, error, 1))
        self._has_many_clients = self._has_many_backends = False
        self._single_clients = self._single_backends = 0
        self._inner_sender = Sender(inner, lambda error, count: self._failed(Side.INNER, error, count))
        self._vip_sender = Sender(vip, lambda error, count: self._failed(Side.VIP, error, count), local_source)

    def run(self) -> None:
        """Forward until `wake` is written to. Datagrams that are in the sockets by then stay there."""
        with select.epoll() as events:
            for fd in (self._vip_fd, self._inner_fd, self._wake):
                events.register(fd, select.EPOLLIN)
            is_running = True
            while is_running:
                ready = events.poll(0)
                if not ready:
                    self._on_idle()
                    ready = events.poll()
                for fd, mask in ready:
                    if fd == self._wake:
                        is_running = False
                    elif fd == self._vip_fd:
                        self._forward_clients()
                    else:
                        if mask & select.EPOLLERR:
                            self._read_errors()
                        self._forward_backends()
        self._on_idle()

    def _forward_clients(self) -> None:
        if not self._has_many_clients and self._single_clients < SINGLES:
            self._single_clients += 1
            self._singles.forward_client()
            return
        batch = self._clients
        count = batch.receive(self._vip_fd)
        self._has_many_clients, self._single_clients = count > FEW, 0
        if not count:
            return
        rows, backends = self._batches.from_clients(count)
        self._count_batch()
        lengths = batch.lengths[:count].astype(np.int64)[rows]
        if len(rows) and lengths.max() > MAX_DATAGRAM_BYTES:
            fits = lengths <= MAX_DATAGRAM_BYTES
            self._failed(Side.INNER, errno.EMSGSIZE, int(np.count_nonzero(~fits)))
            rows, backends, lengths = rows[fits], backends[fits], lengths[fits]
        if self._inner_sender.can_join and len(rows) >= JOIN_FROM:
            order = np.argsort(backends.astype(np.uint16), kind="stable")
            rows, backends, lengths = rows[order], backends[order], lengths[order]
            starts = message_starts(backends, lengths)
        else:
            starts = None
        names = self._batches.backend_names
        messages = self._to_backends.load(
            batch.addresses[rows] - HEADER_LENGTH, lengths + HEADER_LENGTH, names.ctypes.data + backends * 32, starts
        )
        self._inner_sender.send(self._to_backends, messages)

    def _forward_backends(self) -> None:
        if not self._has_many_backends and self._single_backends < SINGLES:
            self._single_backends += 1
            # what has sent many joined will have more
            self._has_many_backends = (self._singles.forward_backend() or 0) > FEW
            return
        batch = self._backends
        count = batch.receive(self._inner_fd)
        segment_lengths = np.where(batch.control_lengths[:count] > 0, self._segment_lengths[:count], 0)
        self._has_many_backends, self._single_backends = count > FEW or bool(np.count_nonzero(segment_lengths)), 0
        if not count:
            return
        replies = self._batches.from_backends(count, segment_lengths)
        self._count_batch()
        starts = self._reply_starts(replies) if self._vip_sender.can_join else None
        name_addresses = replies.names.ctypes.data + np.arange(len(replies.names)) * replies.names.itemsize
        addresses = replies.starts + batch.buffer.ctypes.data
        messages = self._to_clients.load(addresses, replies.lengths, name_addresses, starts, replies.sources)
        self._vip_sender.send(self._to_clients, messages)

    def _reply_starts(self, replies: ReplyBatch) -> Integers | None:
        """Where messages start, if on average at least two neighbours are for the same client."""
        numbers = runs(replies.names, replies.sources)
        if len(numbers) < JOIN_FROM or 2 * (numbers[-1] + 1) > len(numbers):
            return None
        return message_starts(numbers, replies.lengths)

    def _count_batch(self) -> None:
        self._unflushed += 1
        if self._unflushed >= FLUSH_BATCHES:
            self._flush()

    def _flush(self) -> None:
        self._batches.flush()
        self._unflushed = 0

    def _on_idle(self) -> None:
        """No datagram waits on either side."""
        self._single_clients = self._single_backends = 0
        if self._unflushed:
            self._flush()

    def _read_errors(self) -> None:
        refused = set()
        for destination, symbol in read_error_queue(self._sockets[Side.INNER]):
            self._rules.send_failed(Side.INNER, symbol)
            if symbol in _UNREACHABLE:
                refused.add(normalise(destination))
        for address in refused:
            self._rules.refused(address)

    def _failed(self, side: Side, error: int, count: int) -> None:
        for _ in range(count):
            self._rules.send_failed(side, errno.errorcode.get(error, "other"))
