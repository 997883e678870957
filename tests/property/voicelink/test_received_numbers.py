"""`ReceivedNumbers` answers as aioquic's window of packet numbers does, in any order of arrival, and stays small."""

from __future__ import annotations

import sys

from aioquic.quic.recovery import MAX_ACK_RANGES, QuicPacketNumberWindow
from hypothesis import example, given
from hypothesis import strategies as st

from voicelink.quic.limits.received_numbers import WINDOW, ReceivedNumbers

LARGEST = (1 << 62) - 1
NEAR = st.integers(0, 3 * WINDOW)
ANY = st.one_of(NEAR, NEAR, st.integers(0, LARGEST))


@given(st.lists(ANY, max_size=80), st.lists(ANY, max_size=20))
@example([LARGEST, 0], [LARGEST, LARGEST - 1, 0])
@example([0, WINDOW - 1, WINDOW], [0, 1, WINDOW - 1, WINDOW, WINDOW + 1])
def test_a_packet_is_a_duplicate_where_aioquic_takes_it_for_one(arrived: list[int], asked: list[int]) -> None:
    ours, theirs = ReceivedNumbers(), QuicPacketNumberWindow()
    for number in arrived:
        assert (number in ours) == (number in theirs)
        ours.add(number)
        theirs.add(number)
        assert number in ours
    near = [number + offset for number in arrived for offset in (-WINDOW, 1 - WINDOW, -1, 1)]
    for number in [*asked, *(each for each in near if each >= 0)]:
        assert (number in ours) == (number in theirs)
    assert sys.getsizeof(ours._bits) <= sys.getsizeof(1 << WINDOW)


def test_the_window_is_aioquics() -> None:
    assert WINDOW == 2 * MAX_ACK_RANGES
