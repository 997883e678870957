"""The rate limits of one connection, and the principal that they apply to."""

from __future__ import annotations

from collections.abc import Callable

from voice_gateway.access.limits import AccessLimits, LimitExceeded, Principal
from voice_gateway.access.uplink_limits import PrincipalRateLimiter, UplinkRateLimiters
from voice_gateway.session.stats.counters import SessionCounters
from voicelink.wire import CloseCode, Malformed


class ConnectionRateLimiter:
    """Ask it about all that arrives; `clock` is the event loop's."""

    def __init__(
        self,
        principal: Principal,
        of: PrincipalRateLimiter,
        clock: Callable[[], float],
        counters: SessionCounters,
    ) -> None:
        self.principal = principal
        self._rate_limiter = of
        self._clock = clock
        self._counters = counters

    def count_bytes(self, count: int) -> Malformed | None:
        """So much arrived; the answer is why it is too much."""
        exceeded = self._rate_limiter.count_bytes(count, self._clock())
        return None if exceeded is None else self.fault(exceeded)

    def message(self) -> Malformed | None:
        """A control message or an audio frame arrived."""
        exceeded = self._rate_limiter.message(self._clock())
        return None if exceeded is None else self.fault(exceeded)

    def fault(self, exceeded: LimitExceeded) -> Malformed:
        """Count a limit that the caller has reached, and say so."""
        self._counters.limited[exceeded.limit] += 1
        return Malformed(exceeded.reason, CloseCode.OVERLOADED)


def unlimited_connection() -> ConnectionRateLimiter:
    """Return a limiter without limits, for a connection without a principal."""
    return ConnectionRateLimiter(
        Principal(), UplinkRateLimiters(AccessLimits()).of(Principal()), lambda: 0.0, SessionCounters()
    )
