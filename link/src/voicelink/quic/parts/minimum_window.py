"""A minimum of the congestion window, so that speech does not starve behind the loss of a path. Sans-IO.

Reno halves its window at each loss and takes a round trip to win a packet back: at 5 % loss what is left is less than
speech needs, and datagrams queue behind it. A flow as thin as speech cannot congest much, but it must stay thin, and
must stop on a path that carries nothing (RFC 8085 sections 3.1.3 and 3.1.10): hence the cap in bit/s, and the end of
the minimum some time after the last acknowledgement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from voicelink.net.token_bucket import TokenBucket

MINIMUM_BITS_PER_S: Final = 192_000
MINIMUM_BURST_BYTES: Final = 4_800
MINIMUM_ENDS_AFTER_S: Final = 4.0
_IP_UDP_BYTES: Final = 28
_PACKET_BYTES: Final = 64  # headers and an acknowledgement beside a DATAGRAM frame


class MinimumWindow:
    """Decides how many bytes may leave even beyond the congestion window, while DATAGRAM frames wait.

    `next_bytes` is the payload of the DATAGRAM frame that waits first, `None` where none waits.
    """

    def __init__(self) -> None:
        self._bucket: TokenBucket | None = None
        self._acked_at = 0.0
        self._attempted_at = 0.0

    def start(self, now: float) -> None:
        """Begin; a second call does nothing."""
        if self._bucket is None:
            self._bucket = TokenBucket(MINIMUM_BITS_PER_S / 8, MINIMUM_BURST_BYTES, now)
            self._acked_at = now

    def on_acked(self, now: float) -> None:
        """The path carries packets: one more was acknowledged."""
        self._acked_at = now

    def allowed_bytes(self, next_bytes: int | None, now: float) -> int:
        """Return the bytes that may leave despite the congestion window; 0 where the window decides alone."""
        if self._bucket is None:
            return 0
        self._attempted_at = now
        if next_bytes is None or not self._is_carried(now):
            return 0
        level = self._bucket.level(now)
        return int(level) if level >= next_bytes + _PACKET_BYTES else 0

    def on_sent(self, datagrams: Sequence[tuple[bytes, Any]], now: float) -> None:
        """Count what was sent, by leave of the congestion window or not."""
        if self._bucket is not None:
            self._bucket.drain(sum(len(datagram) + _IP_UDP_BYTES for datagram, _ in datagrams), now)

    def timer(self, next_bytes: int | None, timer_at: float) -> float:
        """Return when to try again: `timer_at`, or earlier where more bytes are allowed before that."""
        if self._bucket is None or next_bytes is None:
            return timer_at
        ready_at = self._bucket.ready_at(next_bytes + _PACKET_BYTES)
        # where it was allowed already, something else than the window holds the datagrams back
        is_worth_it = ready_at > self._attempted_at and self._is_carried(ready_at)
        return min(timer_at, ready_at) if is_worth_it else timer_at

    def _is_carried(self, now: float) -> bool:
        return now - self._acked_at < MINIMUM_ENDS_AFTER_S
