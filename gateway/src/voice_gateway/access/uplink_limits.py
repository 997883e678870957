"""Limits on what callers send. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from voice_gateway.access.limits import AccessLimits, LimitExceeded, Principal
from voice_gateway.net.token_buckets import Buckets, Rate
from voicelink.net.token_bucket import TokenBucket

CATCH_UP_S: Final = 60.0
"""How many seconds of its rate may come at once: after a resume a client sends again what was not acked."""

MEDIA_RATE: Final = 1.1
"""Seconds of audio that may come in a second; clocks differ by less."""
MEDIA_BURST_S: Final = 120.0
"""And at once, at the beginning of a session: our SDK sends so much of a recording before it says `UplinkFull`."""
MEDIA_CATCH_UP_S: Final = 300.0
"""And at once, of a session that began elsewhere, or has saved it up: what a caller may keep for a resume, and more."""


Claim = Callable[[float, float], float]
"""Claims an amount of a token bucket at a time; returns 0, or the seconds until there is enough."""


class UplinkRateLimiters:
    """Rate limits of all callers of a worker, by address and by subject; `of` makes the limiter of one connection."""

    def __init__(self, limits: AccessLimits) -> None:
        self._limits = limits
        self._of_networks = (_buckets(limits.address_bytes_per_s), _buckets(limits.address_messages_per_s))
        self._of_subjects = (_buckets(limits.subject_bytes_per_s), _buckets(limits.subject_messages_per_s))

    def of(self, principal: Principal) -> PrincipalRateLimiter:
        """Return the limiter of one connection of the principal."""
        limits = self._limits
        limiter = PrincipalRateLimiter()
        limiter.add("session", _claim(limits.session_bytes_per_s), _claim(limits.session_messages_per_s))
        for whose, buckets, key in (
            ("address", self._of_networks, principal.network),
            ("subject", self._of_subjects, principal.subject),
        ):
            if key is not None:
                limiter.add(whose, *(None if each is None else partial(each.take, key) for each in buckets))
        return limiter


class PrincipalRateLimiter:
    """Limits one caller: `count_bytes` and `message` return the limit that it exceeded, if it did."""

    def __init__(self) -> None:
        self._bytes: list[tuple[Claim, LimitExceeded]] = []
        self._messages: list[tuple[Claim, LimitExceeded]] = []

    def add(self, whose: str, byte_count: Claim | None, messages: Claim | None) -> None:
        """Ask these, too."""
        if byte_count is not None:
            self._bytes.append((byte_count, LimitExceeded(f"{whose}_bytes", "too many bytes arrive")))
        if messages is not None:
            self._messages.append((messages, LimitExceeded(f"{whose}_messages", "too many messages arrive")))

    def count_bytes(self, count: int, now: float) -> LimitExceeded | None:
        """So many bytes arrived."""
        for claim, limit in self._bytes:
            wait_s = claim(count, now)
            if wait_s > 0:
                return replace(limit, wait_s=wait_s)
        return None

    def message(self, now: float) -> LimitExceeded | None:
        """A control message or an audio frame arrived."""
        for claim, limit in self._messages:
            wait_s = claim(1, now)
            if wait_s > 0:
                return replace(limit, wait_s=wait_s)
        return None


def _buckets(per_s: float | None) -> Buckets | None:
    return None if per_s is None else Buckets(Rate(per_s, _burst(per_s)))


def _claim(per_s: float | None) -> Claim | None:
    return None if per_s is None else TokenBucket(per_s, _burst(per_s)).claim


def _burst(per_s: float) -> float:
    return max(1.0, per_s * CATCH_UP_S)


class MediaRateLimiter:
    """Limits the playing time of one session's audio, pauses included.

    It belongs to the session, not to its connections: a caller that resumes where it was sends only what is missing.
    """

    def __init__(self, now: float, *, has_resumed: bool) -> None:
        self._bucket = TokenBucket(MEDIA_RATE, MEDIA_CATCH_UP_S, now)
        if not has_resumed:
            self._bucket.charge(MEDIA_CATCH_UP_S - MEDIA_BURST_S)

    def take(self, audio_s: float, now: float) -> LimitExceeded | None:
        """So much audio arrived; the answer is why it is too much."""
        if self._bucket.claim(audio_s, now) == 0:
            return None
        return LimitExceeded("session_media", "more audio arrives than time passes")
