"""What an endpoint asks before it spends a handshake on a client."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, Protocol

from voice_gateway.net.token_buckets import Buckets, Rate

NETWORK_FAILURES: Final = Rate(per_s=1.0, burst=8.0)
"""Undecryptable Initials of one network, beyond which its new clients are answered with Retry."""
ALL_FAILURES: Final = Rate(per_s=32.0, burst=64.0)
"""Undecryptable Initials of all networks, beyond which every new client is: a flood may forge any source."""


class Handshake(Enum):
    """How a new client is met."""

    ADMIT = auto()
    PROVE = auto()
    """It must show first that its address is its own (Retry)."""
    REFUSE = auto()


class HandshakePolicy(Protocol):
    """Decides by address; called for each first packet of a connection."""

    def meet(self, host: str, *, is_proven: bool, now: float) -> Handshake:
        """`host` is the client's, whatever forwarded its packet; `is_proven` says that it cannot be spoofed.

        `now` is the event loop's time. `PROVE` is never answered to a proven address.
        """


class DecryptionFailures:
    """Undecryptable Initials by network (`voice_gateway.net.network.network_of`) and altogether, in token buckets.

    Memory is bounded by that of `Buckets`. Times are the event loop's, in seconds.
    """

    def __init__(self) -> None:
        self._by_network = Buckets(NETWORK_FAILURES)
        self._all = Buckets(ALL_FAILURES, most_keys=1)

    def count(self, network: bytes, now: float) -> None:
        """Record one failure."""
        self._by_network.take(network, 1, now)
        self._all.take(None, 1, now)

    def are_too_many(self, network: bytes, now: float) -> bool:
        """Return whether a client of this network must prove its address before more of its packets are decrypted."""
        return self._by_network.wait_s(network, 1, now) > 0 or self._all.wait_s(None, 1, now) > 0
