"""Which datagrams one send call may join (UDP generic segmentation offload), and what a joined receive was made of."""

from __future__ import annotations

from typing import Final

import numpy as np

from quiclb.datapath.linux import libc
from quiclb.datapath.linux.batches import Addresses, Flags, Integers, Sources, run_lengths

MAX_SEGMENTS: Final = 64
"""The kernel's limit until Linux 6.9, 128 since; what 128 would gain is not measurable."""

MAX_SEGMENTS_RECEIVED: Final = 128
"""The most datagrams that one receive may hold joined."""

MAX_JOINED_BYTES: Final = 65_000
"""Joined payload, a little below what an IPv4 or IPv6 packet of 65,535 bytes holds."""


def message_starts(destinations: Integers, lengths: Integers) -> Integers:
    """Cut datagrams, in the order they are sent, into messages; returns the index at which each message starts.

    A message has one destination, and all its segments but the last have one length, the last at most that. The order
    is kept: for long messages, sort stably by destination first.
    """
    if not len(lengths):
        return np.zeros(0, np.int64)
    is_other = destinations[1:] != destinations[:-1]
    differs = is_other | (lengths[1:] != lengths[:-1])
    is_start = np.empty(len(lengths), np.bool_)
    is_start[0] = True
    is_start[1:] = differs
    if differs.any():
        _join_short_tails(is_start, is_other, lengths)
    return _cut_long_runs(is_start, lengths)


def runs(names: Addresses, sources: Sources | None = None) -> Integers:
    """Number datagrams so that neighbours with the same socket address, and the same source, have the same number."""
    words = names.view(np.uint64).reshape(-1, libc.SOCKADDR.itemsize // 8).T
    differs = words[0, 1:] != words[0, :-1]
    for word in words[1:]:
        differs |= word[1:] != word[:-1]
    if sources is not None:
        differs |= (sources[1:] != sources[:-1]).any(axis=1)
    numbers = np.zeros(len(names), np.int64)
    np.cumsum(differs, out=numbers[1:])
    return numbers


def split_lengths(lengths: Integers, segment_lengths: Integers) -> tuple[Integers, Integers, Integers]:
    """Take joined messages apart: for each datagram its message, its offset in that message, and its length.

    `segment_lengths` is 0 for a message that is one datagram.
    """
    sizes = np.where(segment_lengths > 0, segment_lengths, np.maximum(lengths, 1))
    counts = np.maximum(-(-lengths // sizes), 1)
    messages = np.repeat(np.arange(len(lengths)), counts)
    first = np.cumsum(counts) - counts
    offsets = (np.arange(len(messages)) - first[messages]) * sizes[messages]
    return messages, offsets, np.minimum(lengths[messages] - offsets, sizes[messages])


def _join_short_tails(is_start: Flags, is_other: Flags, lengths: Integers) -> None:
    """Let a shorter datagram end the message before it; what follows then starts a new one."""
    is_shorter = np.zeros(len(lengths), np.bool_)
    is_shorter[1:] = ~is_other & (lengths[1:] < lengths[:-1])
    is_tail = is_shorter.copy()
    is_tail[1:] &= ~is_shorter[:-1]
    is_start &= ~is_tail
    is_start[1:] |= is_tail[:-1]


def _cut_long_runs(is_start: Flags, lengths: Integers) -> Integers:
    starts = np.flatnonzero(is_start)
    counts = run_lengths(starts, len(lengths))
    most = int(counts.max())
    if most <= MAX_SEGMENTS and most * int(lengths.max()) <= MAX_JOINED_BYTES:
        return starts
    limits = np.minimum(MAX_JOINED_BYTES // np.maximum(lengths[starts], 1), MAX_SEGMENTS)
    np.maximum(limits, 1, out=limits)
    positions = np.arange(len(lengths)) - np.repeat(starts, counts)
    return np.flatnonzero(positions % np.repeat(limits, counts) == 0)
