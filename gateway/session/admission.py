"""Whom a worker lets in, and what it remembers of those who are there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from gateway.access.attempts import Attempts
from gateway.access.gate import Denial, Gate
from gateway.access.limits import AccessLimits, Excess, Holder
from gateway.access.network import network_of_peer
from gateway.access.places import Places
from gateway.access.uplinks import Uplinks
from gateway.session.counters import SessionCounters
from gateway.session.visit import Visit
from gateway.transport.base import Refusal, SessionRequest
from gateway.wire import VOICE_PATH

DRAINING_RETRY_AFTER_S: Final = 1.0
FULL_RETRY_AFTER_S: Final = 5.0
SPARE_PLACES: Final = 8
"""How many connections beyond the limit may wait to say which session they take up: attempts overlap when they fail."""


class Admission:
    """Decides on requests by `gate` and `limits`, which `renew` replaces; `wall_clock` gives seconds since 1970.

    A caller may come back to its session at any time, so whoever is beyond a limit on sessions is let in, and may
    `resume` but not `start`.
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
        self._places = Places()
        self._waiting = Places()
        self._holders: dict[str, tuple[Places, Holder]] = {}

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
        sessions: int,
        counters: SessionCounters,
        *,
        is_draining: bool,
        clock: Callable[[], float],
    ) -> Visit | Refusal:
        """Decide on a request to talk to `agent` at a worker with so many `sessions`; `clock` is the event loop's."""
        now = clock()
        if request.path != VOICE_PATH:
            return Refusal(404, "no voice sessions on this path", "path")
        # a call's key is its carrier's, and so is the address then: it is no caller's own
        network = network_of_peer(request.peer) if request.key is None else None
        if excess := self._attempts.by_network(network, now):
            return _too_many(excess)
        grant = self._gate.admit(request.access_token, request.origin, agent, self._wall_clock())
        if isinstance(grant, Denial):
            return Refusal(grant.status, grant.reason, grant.cause)
        if excess := self._attempts.by_subject(grant.subject, now):
            return _too_many(excess)
        if is_draining:
            return Refusal(503, "this worker is going away", "draining", DRAINING_RETRY_AFTER_S)
        if sessions >= self._max_sessions:
            return Refusal(503, f"all {self._max_sessions} sessions are taken", "full", FULL_RETRY_AFTER_S)
        holder = Holder(network, grant.subject)
        no_place = self._places.full(holder, self._limits)
        if no_place is not None and (crowd := self._waiting.full(holder, self._limits, SPARE_PLACES)):
            return _too_many(crowd)
        return Visit(holder, self._uplinks.meter(holder), clock, counters, no_place)

    def entered(self, session_id: str, visit: Visit, *, is_resumed: bool = False) -> None:
        """There is a session now that this visit opened or took up; call `left` once it is gone."""
        places = self._waiting if visit.no_place is not None and not is_resumed else self._places
        places.enter(visit.holder)
        self._holders[session_id] = places, visit.holder

    def left(self, session_id: str) -> None:
        """The session is gone."""
        places, holder = self._holders.pop(session_id)
        places.leave(holder)


def _too_many(excess: Excess) -> Refusal:
    return Refusal(429, excess.reason, excess.limit, excess.wait_s)
