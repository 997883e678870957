"""Sends prepared messages: one bad message costs itself and no other."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Callable
from typing import Final

from quiclb.datapath.linux import libc, pktinfo
from quiclb.datapath.linux.batches import PENDING_ERRORS, SendBatch
from quiclb.datapath.linux.segments import MAX_SEGMENTS

WRITABLE_TIMEOUT_MS: Final = 5
"""How long a full send buffer may hold up the datapath before datagrams are dropped, as any queue drops."""


class Sender:
    """Sends through one socket; `failed` is called with the errno and the number of datagrams of every failure."""

    def __init__(
        self, sock: socket.socket, failed: Callable[[int, int], None], local_source: pktinfo.Layout | None = None
    ) -> None:
        self._fd = sock.fileno()
        self._failed = failed
        self._writable = select.poll()
        self._writable.register(self._fd, select.POLLOUT)
        self._single = SendBatch(MAX_SEGMENTS, libc.SOCKADDR_IN6_LENGTH, local_source)
        self.can_join = True
        """Whether messages of several datagrams are worth making; false once the kernel has refused."""

    def send(self, batch: SendBatch, count: int) -> None:
        """Send the first `count` messages in order."""
        position, retried = 0, -1
        while position < count:
            sent = libc.sendmmsg(
                self._fd,
                batch.address + position * libc.MMSGHDR.itemsize,
                min(count - position, libc.UIO_MAXIOV),
                socket.MSG_DONTWAIT,
            )
            if sent > 0:
                position += sent
            elif -sent == errno.EAGAIN:
                if not self._writable.poll(WRITABLE_TIMEOUT_MS):
                    self._failed(errno.EAGAIN, int(batch.piece_counts[position:count].sum()))
                    return
            elif -sent in PENDING_ERRORS and retried != position:
                # The error may concern an earlier datagram to another address; reporting it has cleared it.
                retried = position
            else:
                self._skip(batch, position, -sent)
                position += 1

    def _skip(self, batch: SendBatch, position: int, error: int) -> None:
        """Give up on a message, but try the datagrams of a joined one each by itself: the path may carry some."""
        if batch.piece_counts[position] == 1:
            self._failed(error, 1)
            return
        if error == errno.EIO:
            # the device cannot compute checksums, so the kernel joins nothing for it
            self.can_join = False
        self.send(self._single, batch.take_apart(position, self._single))
