"""Where a connection's own connection IDs come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

RandomBytes = Callable[[int], bytes]
"""`os.urandom`, or a seeded stand-in."""

RESET_TOKEN_BYTES = 16


class CidSource(Protocol):
    """Issues connection IDs of one length, and the stateless reset token that goes with each."""

    length_bytes: int
    active_limit: int
    """How many connection IDs one connection may have active at once, its first included."""
    is_migration_disabled: bool
    """Whether a server tells its clients `disable_active_migration` (RFC 9000 section 18.2)."""

    def issue(self) -> bytes:
        """A connection ID never issued before."""

    def reset_token(self, cid: bytes) -> bytes:
        """The 16 bytes by which the peer recognises that this endpoint has forgotten `cid` (RFC 9000 section 10.3)."""


class RandomCids:
    """Connection IDs without meaning, for a client; `length_bytes` 0 makes the client's address its only name."""

    is_migration_disabled = False

    def __init__(self, length_bytes: int, rng: RandomBytes, active_limit: int = 4) -> None:
        self.length_bytes = length_bytes
        self.active_limit = active_limit if length_bytes else 1
        self._rng = rng

    def issue(self) -> bytes:
        return self._rng(self.length_bytes)

    def reset_token(self, cid: bytes) -> bytes:
        return self._rng(RESET_TOKEN_BYTES)
