"""Limits on how often a caller may connect and ask for a session. Sans-IO."""

from __future__ import annotations

from typing import Final

from voice_gateway.access.limits import AccessLimits, LimitExceeded, RateLimiter
from voice_gateway.endpoint.admission.address_validation import Handshake
from voice_gateway.net.network import network_of

RUSH_S: Final = 10.0
"""How many seconds of their rate attempts may come at once: all callers of a network that is back come together."""


class Handshakes:
    """The endpoint's `HandshakePolicy`: a spoofed address costs a Retry, and never its owner's handshakes."""

    def __init__(self, limits: AccessLimits) -> None:
        self.renew(limits)

    def renew(self, limits: AccessLimits) -> None:
        """Go on with other limits; all counts begin anew."""
        per_s = limits.address_attempts_per_s
        self._unproven = RateLimiter.of(per_s, RUSH_S, "address_handshakes", "connections come from this address")
        self._proven = RateLimiter.of(per_s, RUSH_S, "address_handshakes", "connections come from this address")

    def decide(self, host: str, *, is_proven: bool, now: float) -> Handshake:
        limiter = self._proven if is_proven else self._unproven
        if limiter is None or limiter.take(network_of(host), 1, now) is None:
            return Handshake.ADMIT
        return Handshake.REFUSE if is_proven else Handshake.RETRY


class Attempts:
    """Requests for sessions, by network and by subject."""

    def __init__(self, limits: AccessLimits) -> None:
        self._network = RateLimiter.of(
            limits.address_attempts_per_s, RUSH_S, "address_attempts", "requests come from this address"
        )
        self._subject = RateLimiter.of(
            limits.subject_attempts_per_s, RUSH_S, "subject_attempts", "requests come with this access token"
        )

    def by_network(self, network: bytes | None, now: float) -> LimitExceeded | None:
        """Count a request, unless it comes too early."""
        return self._network.take(network, 1, now) if self._network and network is not None else None

    def by_subject(self, subject: str | None, now: float) -> LimitExceeded | None:
        """Count a request, unless it comes too early."""
        return self._subject.take(subject, 1, now) if self._subject and subject is not None else None
