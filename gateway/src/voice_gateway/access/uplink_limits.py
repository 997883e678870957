"""Limits on what callers send. Sans-IO."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from voice_gateway.access.limits import AccessLimits, Excess, Holder, Measure
from voice_gateway.net.token_buckets import Buckets, Rate

CATCH_UP_S: Final = 60.0
"""How many seconds of its rate may come at once: after a resume a client sends again what was not heard."""

MEDIA_RATE: Final = 1.1
"""Seconds of audio that may come in a second; clocks differ by less."""
MEDIA_BURST_S: Final = 120.0
"""And at once, at the beginning of a session: our SDK sends so much of a recording before it says `UplinkFull`."""
MEDIA_CATCH_UP_S: Final = 300.0
"""And at once, of a session that began elsewhere, or has saved it up: what a caller may keep for a resume, and more."""


class Uplinks:
    """All callers of a worker; `meter` gives a measure for each connection of a session."""

    def __init__(self, limits: AccessLimits) -> None:
        self._limits = limits
        self._of_networks = _measures("address", limits.address_bytes_per_s, limits.address_messages_per_s)
        self._of_subjects = _measures("subject", limits.subject_bytes_per_s, limits.subject_messages_per_s)

    def meter(self, holder: Holder) -> Meter:
        """Return what measures one caller."""
        limits = self._limits
        own = _measures("session", limits.session_bytes_per_s, limits.session_messages_per_s)
        return Meter(
            [
                (measures, key)
                for measures, key in (
                    (own, ""),
                    (self._of_networks, holder.network),
                    (self._of_subjects, holder.subject),
                )
                if key is not None
            ]
        )


class Meter:
    """Measures one caller: `bytes` and `message` answer the limit that it went beyond, if it did."""

    def __init__(self, measured: list[tuple[tuple[Measure | None, Measure | None], Hashable]]) -> None:
        self._bytes = [(byte_count, key) for (byte_count, _), key in measured if byte_count is not None]
        self._messages = [(messages, key) for (_, messages), key in measured if messages is not None]

    def count_bytes(self, count: int, now: float) -> Excess | None:
        """So many bytes arrived."""
        return _first(self._bytes, count, now)

    def message(self, now: float) -> Excess | None:
        """A control message or an audio frame arrived."""
        return _first(self._messages, 1, now)


def _measures(
    whose: str, bytes_per_s: float | None, messages_per_s: float | None
) -> tuple[Measure | None, Measure | None]:
    return (
        Measure.of(bytes_per_s, CATCH_UP_S, f"{whose}_bytes", "bytes arrive"),
        Measure.of(messages_per_s, CATCH_UP_S, f"{whose}_messages", "messages arrive"),
    )


def _first(measured: list[tuple[Measure, Hashable]], amount: float, now: float) -> Excess | None:
    for measure, key in measured:
        excess = measure.take(key, amount, now)
        if excess is not None:
            return excess
    return None


class MediaTime:
    """Meters the playing time of one session's audio, pauses that are heard as silence included.

    It belongs to the session, not to its connections: a caller that resumes where it was sends only what is missing.
    """

    def __init__(self, now: float, *, has_resumed: bool) -> None:
        self._buckets = Buckets(Rate(MEDIA_RATE, MEDIA_CATCH_UP_S))
        if not has_resumed:
            self._buckets.take("", MEDIA_CATCH_UP_S - MEDIA_BURST_S, now)

    def take(self, audio_s: float, now: float) -> Excess | None:
        """So much audio arrived; the answer is why it is too much."""
        if self._buckets.take("", audio_s, now) <= 0:
            return None
        return Excess("session_media", "more audio arrives than time passes")
