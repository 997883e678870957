"""The rate limits of one connection, and the principal that they apply to."""

from __future__ import annotations

from collections.abc import Callable

from voice_gateway.access.limits import AccessLimits, LimitExceeded, Principal
from voice_gateway.access.uplink_limits import PrincipalRateLimiter, UplinkRateLimiters
from voice_gateway.session.stats.counters import SessionCounters
from voicelink.wire import CloseCode, Malformed


class ConnectionRateLimiter:
    """Ask `uplink` about all that arrives, at the time of `clock`, the event loop's; `fault` counts what it answers."""

    def __init__(
        self,
        principal: Principal,
        uplink: PrincipalRateLimiter,
        clock: Callable[[], float],
        counters: SessionCounters,
    ) -> None:
        self.principal = principal
        self.uplink = uplink
        self.clock = clock
        self._counters = counters

    def fault(self, exceeded: LimitExceeded) -> Malformed:
        """Count a limit that the caller has reached, and say so."""
        self._counters.limited[exceeded.limit] += 1
        return Malformed(exceeded.reason, CloseCode.OVERLOADED)


def unlimited_connection() -> ConnectionRateLimiter:
    """Return a limiter without limits, for a connection without a principal."""
    return ConnectionRateLimiter(
        Principal(), UplinkRateLimiters(AccessLimits()).of(Principal()), lambda: 0.0, SessionCounters()
    )
