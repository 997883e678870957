"""Preallocated batches of messages for `recvmmsg` and `sendmmsg`: numpy arrays that the kernel reads and fills."""

from __future__ import annotations

import errno
import socket
from typing import Final

import numpy as np
import numpy.typing as npt

from quiclb.datapath.linux import libc, pktinfo

ByteArray = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]
Addresses = npt.NDArray[np.void]
"""Socket addresses as the kernel writes them, `libc.SOCKADDR` each."""
Sources = npt.NDArray[np.uint32]
"""The machine's own addresses that datagrams leave from, a row of words each, as they are in memory."""

_CACHE_LINE: Final = 64
_CONTROL_BYTES: Final = 64
_SEGMENT_CONTROL_BYTES: Final = 24


class ReceiveBatch:
    """Receive up to `capacity` messages at once, each into its own slot of `buffer`.

    Call `receive`, then read the first `count` rows of `lengths`, `names` and `bytes` until the next `receive`. Every
    slot has `HEADROOM` bytes in front of the message, so that a header can be put there without a copy. What
    does not fit `slot_bytes` is cut off by the kernel.
    """

    HEADROOM: Final = _CACHE_LINE

    def __init__(self, capacity: int, slot_bytes: int, *, has_control: bool = False) -> None:
        # An odd number of cache lines a slot: the first lines of all slots then spread over all sets of the cache.
        lines = -(-(self.HEADROOM + slot_bytes) // _CACHE_LINE)
        self.stride: Final = (lines | 1) * _CACHE_LINE
        self.capacity: Final = capacity
        self.buffer: ByteArray = _aligned(capacity * self.stride)
        self.rows: ByteArray = self.buffer.reshape(capacity, self.stride)
        self.offsets: Integers = np.arange(capacity, dtype=np.int64) * self.stride + self.HEADROOM
        self.addresses: Integers = self.buffer.ctypes.data + self.offsets
        """Where each message begins in memory; `offsets` is the same within `buffer`."""
        self.names: Addresses = np.zeros(capacity, libc.SOCKADDR)
        self.control: ByteArray = np.zeros((capacity, _CONTROL_BYTES), np.uint8)
        self._headers = np.zeros(capacity, libc.MMSGHDR)
        self.lengths: npt.NDArray[np.uint32] = self._headers["length"]
        self.control_lengths: Words = self._headers["controllen"]
        self._name_lengths: npt.NDArray[np.uint32] = self._headers["namelen"]
        self._control_room = _CONTROL_BYTES if has_control else 0
        self._iovecs = np.zeros(capacity, libc.IOVEC)
        self._iovecs["base"] = self.addresses
        self._iovecs["length"] = slot_bytes
        self._headers["name"] = self.names.ctypes.data + np.arange(capacity) * libc.SOCKADDR.itemsize
        self._headers["iov"] = self._iovecs.ctypes.data + np.arange(capacity) * libc.IOVEC.itemsize
        self._headers["iovlen"] = 1
        self._headers["control"] = self.control.ctypes.data + np.arange(capacity) * _CONTROL_BYTES
        self._address: Final = self._headers.ctypes.data
        self._dirty = capacity

    def receive(self, fd: int) -> int:
        """Fill the batch without waiting; returns how many messages came, 0 if none waits.

        Errors of earlier sends that the kernel reports here (ICMP) are passed over. Raises `OSError` otherwise.
        """
        dirty = self._dirty
        self._name_lengths[:dirty] = libc.SOCKADDR.itemsize
        self.control_lengths[:dirty] = self._control_room
        self._dirty = 0
        for _ in range(_RECEIVE_ATTEMPTS):
            count = libc.recvmmsg(fd, self._address, self.capacity, socket.MSG_DONTWAIT)
            if count >= 0:
                self._dirty = count
                return count
            if -count == errno.EAGAIN:
                return 0
            if -count not in PENDING_ERRORS:
                raise OSError(-count, errno.errorcode.get(-count, "recvmmsg"))
        return 0


class SendBatch:
    """Prepare up to `capacity` datagrams for `sendmmsg`: `load` them, then hand the batch to a `Sender`.

    With a `local_source` each message carries the local source address to send from.
    """

    def __init__(self, capacity: int, name_length: int, local_source: pktinfo.Layout | None = None) -> None:
        self._headers = np.zeros(capacity, libc.MMSGHDR)
        self._iovecs = np.zeros(capacity, libc.IOVEC)
        self._control: ByteArray = np.zeros((capacity, _CONTROL_BYTES), np.uint8)
        self._headers["namelen"] = name_length
        self._headers["control"] = self._control.ctypes.data + np.arange(capacity) * _CONTROL_BYTES
        # every message has its control data ready, UDP_SEGMENT last and in force where the length includes it
        self._local_source_bytes = local_source.space_bytes if local_source else 0
        segment = self._control.view(_segment_control(self._local_source_bytes))[:, 0]
        segment["length"] = libc.CMSGHDR.itemsize + 2
        segment["level"], segment["type"] = libc.SOL_UDP, libc.UDP_SEGMENT
        self._segment_lengths: npt.NDArray[np.uint16] = segment["segment"]
        self._sources: Sources | None = None
        if local_source:
            control = self._control.view(_local_source_control(local_source))[:, 0]
            control["length"], control["level"], control["type"] = (
                local_source.length_bytes,
                local_source.level,
                local_source.kind,
            )
            self._sources = control["address"]
        self._piece_addresses: Words = self._iovecs["base"]
        self._piece_lengths: Words = self._iovecs["length"]
        self._piece_locations: Integers = self._iovecs.ctypes.data + np.arange(capacity) * libc.IOVEC.itemsize
        self._names: Words = self._headers["name"]
        self._first_pieces: Words = self._headers["iov"]
        self.piece_counts: Words = self._headers["iovlen"]
        self._control_lengths: Words = self._headers["controllen"]
        self.address: Final = self._headers.ctypes.data

    def load(
        self,
        addresses: Integers,
        lengths: Integers,
        names: Integers,
        starts: Integers | None,
        sources: Sources | None = None,
    ) -> int:
        """Prepare datagrams in this order and return how many messages they make.

        `addresses` and `names` say where each datagram and its socket address lie in memory; they must stay there until
        the batch is sent. `starts` are the datagrams at which messages begin (see `segments.message_starts`), `None` if
        each is a message. `sources` are the addresses to send from, if there is a `local_source`.
        """
        count = len(addresses)
        self._piece_addresses[:count] = addresses
        self._piece_lengths[:count] = lengths
        if starts is None or len(starts) == count:
            self._names[:count] = names
            self._first_pieces[:count] = self._piece_locations[:count]
            self.piece_counts[:count] = 1
            self._control_lengths[:count] = self._local_source_bytes
            if self._sources is not None and sources is not None:
                self._sources[:count] = sources
            return count
        messages = len(starts)
        if self._sources is not None and sources is not None:
            self._sources[:messages] = sources[starts]
        self._names[:messages] = names[starts]
        self._first_pieces[:messages] = self._piece_locations[starts]
        counts = run_lengths(starts, count)
        self.piece_counts[:messages] = counts
        self._segment_lengths[:messages] = lengths[starts]
        self._control_lengths[:messages] = (counts > 1) * _SEGMENT_CONTROL_BYTES + self._local_source_bytes
        return messages

    def take_apart(self, message: int, into: SendBatch) -> int:
        """Load the datagrams of one message into another batch as messages of their own; returns how many."""
        first = (int(self._first_pieces[message]) - int(self._piece_locations[0])) // libc.IOVEC.itemsize
        pieces = slice(first, first + int(self.piece_counts[message]))
        into._headers["namelen"] = self._headers["namelen"][message]
        addresses = self._piece_addresses[pieces].astype(np.int64)
        names = np.full(len(addresses), self._names[message])
        sources = self._sources[message] if self._sources is not None else None
        return into.load(addresses, self._piece_lengths[pieces].astype(np.int64), names, None, sources)


def run_lengths(starts: Integers, end: int) -> Integers:
    """How many items each run has, from where the runs start and the last one ends; `np.diff`, several times faster."""
    counts = np.empty(len(starts), np.int64)
    np.subtract(starts[1:], starts[:-1], out=counts[:-1])
    counts[-1:] = end - starts[-1:]
    return counts


PENDING_ERRORS: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.ENOPROTOOPT,
        errno.EACCES,
        errno.EPROTO,
        errno.EMSGSIZE,
        errno.EINTR,
    }
)
"""What an ICMP error about one destination leaves on the socket for whichever call comes next."""

_RECEIVE_ATTEMPTS = 8


def _segment_control(start: int) -> np.dtype[np.void]:
    return np.dtype(
        {
            "names": ["length", "level", "type", "segment"],
            "formats": ["u8", "i4", "i4", "u2"],
            "offsets": [start, start + 8, start + 12, start + 16],
            "itemsize": _CONTROL_BYTES,
        }
    )


def _local_source_control(layout: pktinfo.Layout) -> np.dtype[np.void]:
    return np.dtype(
        {
            "names": ["length", "level", "type", "address"],
            "formats": ["u8", "i4", "i4", ("u4", (layout.address_words,))],
            "offsets": [0, 8, 12, layout.source_at],
            "itemsize": _CONTROL_BYTES,
        }
    )


def _aligned(raw: int) -> ByteArray:
    # filled now, not page by page in mid-traffic: memory is the same from the first datagram to the last
    buffer = np.full(raw + _CACHE_LINE, 0, np.uint8)
    start = -buffer.ctypes.data % _CACHE_LINE
    return buffer[start : start + raw]
