from __future__ import annotations

import numpy as np
import pytest

from quiclb.datapath.linux import libc
from quiclb.datapath.linux.segments import MAX_JOINED_BYTES, MAX_SEGMENTS, message_starts, runs, split_lengths


def starts(datagrams: list[tuple[int, int]]) -> list[int]:
    destinations, lengths = (np.array(column, np.int64) for column in zip(*datagrams, strict=True))
    return message_starts(destinations, lengths).tolist()


@pytest.mark.parametrize(
    ("datagrams", "expected"),
    [
        ([(1, 200)], [0]),
        ([(1, 200), (1, 200), (1, 200)], [0]),
        ([(1, 200), (2, 200)], [0, 1]),
        ([(1, 200), (1, 200), (1, 100)], [0]),
        ([(1, 200), (1, 100), (1, 100)], [0, 2]),
        ([(1, 100), (1, 200)], [0, 1]),
        ([(1, 300), (1, 200), (1, 100)], [0, 2]),
        ([(1, 200), (2, 100)], [0, 1]),
        ([(1, 200)] * (MAX_SEGMENTS + 1), [0, MAX_SEGMENTS]),
        ([(1, 20_000)] * 4, [0, 3]),
    ],
)
def test_where_messages_start(datagrams, expected):
    assert starts(datagrams) == expected


def test_nothing_makes_no_message():
    assert message_starts(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []
    assert runs(np.zeros(0, libc.SOCKADDR)).tolist() == []


def test_every_message_is_one_the_kernel_takes():
    rng = np.random.default_rng(1)
    for _ in range(200):
        count = int(rng.integers(1, 400))
        destinations = np.sort(rng.integers(0, 4, count))
        lengths = rng.choice([40, 40, 40, 1238, 77], count).astype(np.int64)
        begin = message_starts(destinations, lengths).tolist()
        for first, end in zip(begin, [*begin[1:], count], strict=True):
            assert len(set(destinations[first:end].tolist())) == 1
            assert set(lengths[first : end - 1].tolist()) <= {lengths[first]}
            assert lengths[end - 1] <= lengths[first]
            assert end - first <= MAX_SEGMENTS
            assert lengths[first:end].sum() <= MAX_JOINED_BYTES


def test_joined_messages_come_apart():
    messages, offsets, lengths = split_lengths(np.array([250, 77, 0, 200]), np.array([100, 0, 0, 100]))
    assert messages.tolist() == [0, 0, 0, 1, 2, 3, 3]
    assert offsets.tolist() == [0, 100, 200, 0, 0, 0, 100]
    assert lengths.tolist() == [100, 100, 50, 77, 0, 100, 100]


def test_neighbours_with_one_address_share_a_number():
    names = np.frombuffer(b"".join(bytes([value] * 32) for value in (1, 1, 2, 1)), libc.SOCKADDR)
    assert runs(names).tolist() == [0, 0, 1, 2]
