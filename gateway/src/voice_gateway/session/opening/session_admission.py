"""Which requests a worker admits, and which sessions it counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from voice_gateway.access.attempts import Attempts
from voice_gateway.access.gate import Denial, Gate
from voice_gateway.access.limits import AccessLimits, LimitExceeded, Principal
from voice_gateway.access.session_quota import SessionQuota, WaitingConnections
from voice_gateway.access.uplink_limits import UplinkRateLimiters
from voice_gateway.net.network import network_of_peer
from voice_gateway.session.runtime.connection.client_connection import ClientConnection
from voice_gateway.session.runtime.connection.connection_rate_limiter import ConnectionRateLimiter
from voice_gateway.session.stats.counters import SessionCounters
from voice_gateway.transport.base import Refusal, SessionRequest
from voicelink.wire import VOICE_PATH, Malformed

DRAINING_RETRY_AFTER_S: Final = 1.0


class Admission:
    """Decides on requests by `gate` and `limits`, which `renew` replaces; `wall_clock` gives seconds since 1970.

    A session counts from its `start`. A caller may come back to its session at any time: limits on sessions refuse a
    `start`, and never a connection or a `resume`.
    """

    def __init__(
        self,
        gate: Gate | None = None,
        limits: AccessLimits | None = None,
        *,
        max_sessions: int = 500,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._gate = gate or Gate()
        self._limits = limits or AccessLimits()
        self._attempts = Attempts(self._limits)
        self._uplink_limiters = UplinkRateLimiters(self._limits)
        self.max_sessions = max_sessions
        self._wall_clock = wall_clock
        self.waiting = WaitingConnections[ClientConnection]()
        self._quota = SessionQuota()
        self._holders: dict[str, Principal] = {}

    @property
    def sessions(self) -> int:
        """How many sessions have started and are not over."""
        return len(self._holders)

    def renew(self, gate: Gate, limits: AccessLimits) -> None:
        """Decide by others from now on; who is in stays in."""
        self._gate = gate
        if limits != self._limits:
            self._limits = limits
            self._attempts = Attempts(limits)
            self._uplink_limiters = UplinkRateLimiters(limits)

    def trusts_key(self, request: SessionRequest) -> bool:
        """Whether the request's key names its session: its network signed it, or its token was asked for."""
        return request.key is not None and (request.is_key_signed or not self._gate.is_open)

    def decide(
        self,
        request: SessionRequest,
        agent: str,
        counters: SessionCounters,
        *,
        is_draining: bool,
        clock: Callable[[], float],
    ) -> ConnectionRateLimiter | Refusal:
        """Decide on a request to talk to `agent`; `clock` is the event loop's."""
        now = clock()
        if request.path != VOICE_PATH:
            return Refusal(404, "no voice sessions on this path", "path")
        # the address of a call whose key is trusted is its carrier's, and no caller's own
        network = None if self.trusts_key(request) else network_of_peer(request.peer)
        if exceeded := self._attempts.by_network(network, now):
            return _too_many(exceeded)
        grant = self._gate.admit(request.access_token, request.origin, agent, self._wall_clock())
        if isinstance(grant, Denial):
            return Refusal(grant.status, grant.reason, grant.cause)
        if exceeded := self._attempts.by_subject(grant.subject, now):
            return _too_many(exceeded)
        if is_draining:
            return Refusal(503, "this worker is going away", "draining", DRAINING_RETRY_AFTER_S)
        principal = Principal(network, grant.subject)
        return ConnectionRateLimiter(principal, self._uplink_limiters.of(principal), clock, counters)

    def check_start(self, rate_limiter: ConnectionRateLimiter) -> Malformed | None:
        """Return why no further session may start, and count it, if so."""
        if self.sessions >= self.max_sessions:
            return rate_limiter.fault(LimitExceeded("sessions", f"all {self.max_sessions} sessions are taken"))
        if exceeded := self._quota.full(rate_limiter.principal, self._limits):
            return rate_limiter.fault(exceeded)
        return None

    def enter(self, session_id: str, rate_limiter: ConnectionRateLimiter) -> None:
        """Count a session, new or resumed, until `left`."""
        self._quota.enter(rate_limiter.principal)
        self._holders[session_id] = rate_limiter.principal

    def left(self, session_id: str) -> None:
        """The session is gone; one that never had a place leaves none."""
        principal = self._holders.pop(session_id, None)
        if principal is not None:
            self._quota.leave(principal)


def _too_many(exceeded: LimitExceeded) -> Refusal:
    return Refusal(429, exceeded.reason, exceeded.limit, exceeded.wait_s)
