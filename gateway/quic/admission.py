"""What an endpoint asks before it spends a handshake on a client."""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol


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
