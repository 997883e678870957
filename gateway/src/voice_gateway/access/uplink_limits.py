"""Limits on what callers send. Sans-IO."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from voice_gateway.access.limits import AccessLimits, LimitExceeded, Principal, RateLimiter
from voice_gateway.net.token_buckets import Buckets, Rate

CATCH_UP_S: Final = 60.0
"""How many seconds of its rate may come at once: after a resume a client sends again what was not acked."""

MEDIA_RATE: Final = 1.1
"""Seconds of audio that may come in a second; clocks differ by less."""
MEDIA_BURST_S: Final = 120.0
"""And at once, at the beginning of a session: our SDK sends so much of a recording before it says `UplinkFull`."""
MEDIA_CATCH_UP_S: Final = 300.0
"""And at once, of a session that began elsewhere, or has saved it up: what a caller may keep for a resume, and more."""


class UplinkRateLimiters:
    """Rate limits of all callers of a worker, by address and by subject; `of` makes the limiter of one connection."""

    def __init__(self, limits: AccessLimits) -> None:
        self._limits = limits
        self._of_networks = _rate_limiters("address", limits.address_bytes_per_s, limits.address_messages_per_s)
        self._of_subjects = _rate_limiters("subject", limits.subject_bytes_per_s, limits.subject_messages_per_s)

    def of(self, principal: Principal) -> PrincipalRateLimiter:
        """Return the limiter of one connection of the principal."""
        limits = self._limits
        own = _rate_limiters("session", limits.session_bytes_per_s, limits.session_messages_per_s)
        return PrincipalRateLimiter(
            [
                (limiters, key)
                for limiters, key in (
                    (own, ""),
                    (self._of_networks, principal.network),
                    (self._of_subjects, principal.subject),
                )
                if key is not None
            ]
        )


class PrincipalRateLimiter:
    """Limits one caller: `count_bytes` and `message` return the limit that it exceeded, if it did."""

    def __init__(self, measured: list[tuple[tuple[RateLimiter | None, RateLimiter | None], Hashable]]) -> None:
        self._bytes = [(byte_count, key) for (byte_count, _), key in measured if byte_count is not None]
        self._messages = [(messages, key) for (_, messages), key in measured if messages is not None]

    def count_bytes(self, count: int, now: float) -> LimitExceeded | None:
        """So many bytes arrived."""
        return _first(self._bytes, count, now)

    def message(self, now: float) -> LimitExceeded | None:
        """A control message or an audio frame arrived."""
        return _first(self._messages, 1, now)


def _rate_limiters(
    whose: str, bytes_per_s: float | None, messages_per_s: float | None
) -> tuple[RateLimiter | None, RateLimiter | None]:
    return (
        RateLimiter.of(bytes_per_s, CATCH_UP_S, f"{whose}_bytes", "bytes arrive"),
        RateLimiter.of(messages_per_s, CATCH_UP_S, f"{whose}_messages", "messages arrive"),
    )


def _first(measured: list[tuple[RateLimiter, Hashable]], amount: float, now: float) -> LimitExceeded | None:
    for limiter, key in measured:
        exceeded = limiter.take(key, amount, now)
        if exceeded is not None:
            return exceeded
    return None


class MediaRateLimiter:
    """Limits the playing time of one session's audio, pauses included.

    It belongs to the session, not to its connections: a caller that resumes where it was sends only what is missing.
    """

    def __init__(self, now: float, *, has_resumed: bool) -> None:
        self._buckets = Buckets(Rate(MEDIA_RATE, MEDIA_CATCH_UP_S))
        if not has_resumed:
            self._buckets.take("", MEDIA_CATCH_UP_S - MEDIA_BURST_S, now)

    def take(self, audio_s: float, now: float) -> LimitExceeded | None:
        """So much audio arrived; the answer is why it is too much."""
        if self._buckets.take("", audio_s, now) <= 0:
            return None
        return LimitExceeded("session_media", "more audio arrives than time passes")
