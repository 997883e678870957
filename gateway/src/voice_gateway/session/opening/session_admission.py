"""Whom a worker lets in, and what it remembers of those who are there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from voice_gateway.access.attempts import Attempts
from voice_gateway.access.gate import Denial, Gate
from voice_gateway.access.limits import AccessLimits, Excess, Holder
from voice_gateway.access.session_quota import Places, Waiting
from voice_gateway.access.uplink_limits import Uplinks
from voice_gateway.net.network import network_of_peer
from voice_gateway.session.runtime.client_connection import Port
from voice_gateway.session.runtime.connection_rate_limiter import Visit
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
        self._uplinks = Uplinks(self._limits)
        self._max_sessions = max_sessions
        self._wall_clock = wall_clock
        self.waiting = Waiting[Port]()
        self._places = Places()
        self._holders: dict[str, Holder] = {}

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
            self._uplinks = Uplinks(limits)

    def trusts_key(self, request: SessionRequest) -> bool:
        """Whether the request's key names its session: its network signed it, or its token was asked for."""
        return request.key is not None and (request.is_key_signed or not self._gate.is_open)

    def judge(
        self,
        request: SessionRequest,
        agent: str,
        counters: SessionCounters,
        *,
        is_draining: bool,
        clock: Callable[[], float],
    ) -> Visit | Refusal:
        """Decide on a request to talk to `agent`; `clock` is the event loop's."""
        now = clock()
        if request.path != VOICE_PATH:
            return Refusal(404, "no voice sessions on this path", "path")
        # the address of a call whose key is trusted is its carrier's, and no caller's own
        network = None if self.trusts_key(request) else network_of_peer(request.peer)
        if excess := self._attempts.by_network(network, now):
            return _too_many(excess)
        grant = self._gate.admit(request.access_token, request.origin, agent, self._wall_clock())
        if isinstance(grant, Denial):
            return Refusal(grant.status, grant.reason, grant.cause)
        if excess := self._attempts.by_subject(grant.subject, now):
            return _too_many(excess)
        if is_draining:
            return Refusal(503, "this worker is going away", "draining", DRAINING_RETRY_AFTER_S)
        holder = Holder(network, grant.subject)
        return Visit(holder, self._uplinks.meter(holder), clock, counters)

    def start(self, session_id: str, visit: Visit) -> Malformed | None:
        """Give a new session a place until `left`; the answer is why there is none."""
        if self.sessions >= self._max_sessions:
            return visit.fault(Excess("sessions", f"all {self._max_sessions} sessions are taken"))
        if excess := self._places.full(visit.holder, self._limits):
            return visit.fault(excess)
        self.resumed(session_id, visit)
        return None

    def resumed(self, session_id: str, visit: Visit) -> None:
        """A session that began elsewhere goes on here, and has a place until `left`."""
        self._places.enter(visit.holder)
        self._holders[session_id] = visit.holder

    def left(self, session_id: str) -> None:
        """The session is gone; one that never had a place leaves none."""
        holder = self._holders.pop(session_id, None)
        if holder is not None:
            self._places.leave(holder)


def _too_many(excess: Excess) -> Refusal:
    return Refusal(429, excess.reason, excess.limit, excess.wait_s)
