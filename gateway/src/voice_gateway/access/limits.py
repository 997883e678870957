"""How much one session, one address and one subject may do. Sans-IO."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from voice_gateway.net.token_buckets import Buckets, Rate


@dataclass(frozen=True, slots=True)
class AccessLimits:
    """`None` is no limit. An address is an IPv4 address or an IPv6 /64, a subject that of an access token.

    Sessions count from `start`. Attempts are connections and requests for sessions. Bytes count as they arrive,
    valid or not; messages are control messages and audio frames.
    """

    session_bytes_per_s: float | None = None
    session_messages_per_s: float | None = None
    address_attempts_per_s: float | None = None
    address_sessions: int | None = None
    address_bytes_per_s: float | None = None
    address_messages_per_s: float | None = None
    subject_attempts_per_s: float | None = None
    subject_sessions: int | None = None
    subject_bytes_per_s: float | None = None
    subject_messages_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class LimitExceeded:
    """A limit that a caller has reached: `limit` for metrics, and a sentence; `wait_s` until it may try again."""

    limit: str
    reason: str
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Principal:
    """The party that limits apply to: the network of its address (`network_of`), and the subject of its token."""

    network: bytes | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class RateLimiter:
    """One limit on a rate: `name` for metrics, `what` comes "too many" of."""

    buckets: Buckets
    name: str
    what: str

    @classmethod
    def of(cls, per_s: float | None, burst_s: float, name: str, what: str) -> RateLimiter | None:
        """Allow `per_s`, and what comes in `burst_s` at once; `None` without a rate."""
        return None if per_s is None else cls(Buckets(Rate(per_s, max(1.0, per_s * burst_s))), name, what)

    def take(self, key: Hashable, amount: float, now: float) -> LimitExceeded | None:
        """Count `amount` for `key`, unless that would be too much."""
        wait_s = self.buckets.take(key, amount, now)
        return LimitExceeded(self.name, f"too many {self.what}", wait_s) if wait_s > 0 else None
