"""Which packets have arrived before, in fixed memory. Sans-IO."""

from __future__ import annotations

from typing import Final

WINDOW: Final = 128
"""Twice the ranges that an ACK frame may have (aioquic's `MAX_ACK_RANGES`): an older packet counts as a duplicate."""
_ALL: Final = (1 << WINDOW) - 1


class ReceivedNumbers:
    """The newest `WINDOW` packet numbers of a packet number space, a bit each (RFC 9000 section 12.3).

    Stands in for aioquic's `QuicPacketNumberWindow` and answers as it does, whose set of numbers takes 14 KB.
    """

    __slots__ = ("_bits", "_largest")

    def __init__(self) -> None:
        self._largest = -1
        self._bits = 0
        """Bit n stands for the number n below the largest."""

    def add(self, packet_number: int) -> None:
        """A packet of this number has arrived."""
        ahead = packet_number - self._largest
        if ahead > 0:
            self._largest = packet_number
            # a peer picks its numbers: shifting by one of them would take as much memory
            self._bits = self._bits << ahead & _ALL | 1 if ahead < WINDOW else 1
        elif ahead > -WINDOW:
            self._bits |= 1 << -ahead

    def __contains__(self, packet_number: int) -> bool:
        behind = self._largest - packet_number
        return behind >= WINDOW or (behind >= 0 and bool(self._bits >> behind & 1))
