"""The loop of the vectorised datapath: receive a batch, forward it, wait only when there is nothing to do."""

from __future__ import annotations

import errno
import select
import socket
from typing import Final

import numpy as np

from quiclb.address import Address
from quiclb.datapath.base import Datagrams, Side
from quiclb.datapath.messages import PENDING_ERRORS, ReceiveBatch, SendBatch
from quiclb.datapath.segments import MAX_SEGMENTS_RECEIVED, message_starts, runs
from quiclb.datapath.sender import Sender
from quiclb.datapath.sockets import read_error_queue
from quiclb.datapath.vector_forwarder import VectorForwarder
from quiclb.envelope import HEADER_LENGTH
from quiclb.forwarder import ForwardingCore

BATCH: Final = 512
"""Datagrams a receive call takes from clients."""

JOINED_BATCH: Final = 64
"""Messages a receive call takes from backends, each of up to 128 datagrams; few would throttle backends without GSO."""

SCALAR_BATCH: Final = 6
"""Up to this many datagrams the scalar core is faster than setting up arrays."""

MAX_DATAGRAM_OCTETS: Final = 2048
"""The longest datagram taken from a client; longer ones are dropped whole and counted as `EMSGSIZE`."""

FLUSH_BATCHES: Final = 64
"""How many batches the counters may lag behind under load; they are exact when the loop comes to rest."""


class ForwardingLoop:
    """Forwards between two bound sockets until the eventfd `wake` is written to; `run` it in a thread or a process."""

    def __init__(self, vip: socket.socket, inner: socket.socket, wake: int, core: ForwardingCore) -> None:
        self._core = core
        self._unflushed = 0
        self._wake = wake
        self._sockets = {Side.VIP: vip, Side.INNER: inner}
        self._vip_fd, self._inner_fd = vip.fileno(), inner.fileno()
        # one octet more than may pass shows what is too long
        self._clients = ReceiveBatch(BATCH, MAX_DATAGRAM_OCTETS + 1)
        self._backends = ReceiveBatch(JOINED_BATCH, 65536, has_control=True)
        self._segment_lengths = self._backends.control.view(np.int32)[:, 4]
        self._vectors = VectorForwarder(core, self._clients, self._backends)
        self._to_backends = SendBatch(BATCH, self._vectors.inner_family.name_length)
        self._to_clients = SendBatch(JOINED_BATCH * MAX_SEGMENTS_RECEIVED, self._vectors.family.name_length)
        self._inner_sender = Sender(inner, lambda error, count: self._failed(Side.INNER, error, count))
        self._vip_sender = Sender(vip, lambda error, count: self._failed(Side.VIP, error, count))

    def run(self) -> None:
        """Forward until told to stop. Datagrams that are in the sockets by then stay there."""
        with select.epoll() as events:
            for fd in (self._vip_fd, self._inner_fd, self._wake):
                events.register(fd, select.EPOLLIN)
            is_running = True
            while is_running:
                ready = events.poll(0 if self._unflushed else None)
                for fd, mask in ready:
                    if fd == self._wake:
                        is_running = False
                    elif fd == self._vip_fd:
                        self._forward_clients()
                    else:
                        if mask & select.EPOLLERR:
                            self._read_errors()
                        self._forward_backends()
                if not ready:
                    self._flush()
        self._flush()

    def _forward_clients(self) -> None:
        batch = self._clients
        count = batch.receive(self._vip_fd)
        if count <= SCALAR_BATCH:
            self._forward_few_clients(count)
            return
        rows, backends = self._vectors.from_clients(count)
        self._count_batch()
        lengths = batch.lengths[:count].astype(np.int64)[rows]
        if len(rows) and lengths.max() > MAX_DATAGRAM_OCTETS:
            fits = lengths <= MAX_DATAGRAM_OCTETS
            self._failed(Side.INNER, errno.EMSGSIZE, int(np.count_nonzero(~fits)))
            rows, backends, lengths = rows[fits], backends[fits], lengths[fits]
        if self._inner_sender.can_join:
            order = np.argsort(backends.astype(np.uint16), kind="stable")
            rows, backends, lengths = rows[order], backends[order], lengths[order]
            starts = message_starts(backends, lengths)
        else:
            starts = None
        names = self._vectors.backend_names
        messages = self._to_backends.load(
            batch.addresses[rows] - HEADER_LENGTH, lengths + HEADER_LENGTH, names.ctypes.data + backends * 32, starts
        )
        self._inner_sender.send(self._to_backends, messages)

    def _forward_backends(self) -> None:
        batch = self._backends
        count = batch.receive(self._inner_fd)
        segment_lengths = np.where(batch.control_lengths[:count] > 0, self._segment_lengths[:count], 0)
        if count <= SCALAR_BATCH and not segment_lengths.any():
            self._forward_few_backends(count)
            return
        replies = self._vectors.from_backends(count, segment_lengths)
        self._count_batch()
        starts = message_starts(runs(replies.names), replies.lengths) if self._vip_sender.can_join else None
        name_addresses = replies.names.ctypes.data + np.arange(len(replies.names)) * replies.names.itemsize
        addresses = replies.starts + batch.buffer.ctypes.data
        messages = self._to_clients.load(addresses, replies.lengths, name_addresses, starts)
        self._vip_sender.send(self._to_clients, messages)

    def _forward_few_clients(self, count: int) -> None:
        batch, family = self._clients, self._vectors.family
        taken: list[tuple[bytes, Address]] = []
        for row in range(count):
            payload = batch.payload(row)
            if len(payload) > MAX_DATAGRAM_OCTETS:
                self._failed(Side.INNER, errno.EMSGSIZE, 1)
            else:
                taken.append((bytes(payload), family.address(batch.name(row))))
        self._send_few(Side.INNER, self._core.from_clients(taken))

    def _forward_few_backends(self, count: int) -> None:
        batch, family = self._backends, self._vectors.inner_family
        taken = [(bytes(batch.payload(row)), family.address(batch.name(row))) for row in range(count)]
        self._send_few(Side.VIP, self._core.from_backends(taken))

    def _send_few(self, side: Side, datagrams: Datagrams) -> None:
        sock = self._sockets[side]
        for datagram, (ip, port) in datagrams:
            target = (f"::ffff:{ip}" if sock.family == socket.AF_INET6 and ":" not in ip else ip, port)
            for is_last_attempt in (False, True):
                try:
                    sock.sendto(datagram, target)
                except OSError as error:
                    if is_last_attempt or error.errno not in PENDING_ERRORS:
                        self._failed(side, error.errno or 0, 1)
                        break
                else:
                    break

    def _count_batch(self) -> None:
        self._unflushed += 1
        if self._unflushed >= FLUSH_BATCHES:
            self._flush()

    def _flush(self) -> None:
        self._vectors.flush()
        self._unflushed = 0

    def _read_errors(self) -> None:
        for _, symbol in read_error_queue(self._sockets[Side.INNER]):
            self._core.send_failed(Side.INNER, symbol)

    def _failed(self, side: Side, error: int, count: int) -> None:
        for _ in range(count):
            self._core.send_failed(side, errno.errorcode.get(error, "other"))
